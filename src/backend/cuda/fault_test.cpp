// A fault of a real GPU, in a process of its own: it is an error where the host waits, says what happened,
// and stays.
#include <cstdio>
#include <cstdlib>

#include "backend/cuda/testing/side.h"

namespace sheaf::cuda {
namespace {

/// Reads a table that is not there; 0 when everything after it is refused with the fault's name.
int read_nowhere() {
    testing::Side gpu(make_cuda_machine(0, ComputeType::bf16));
    const Tensor index = gpu.put(cpu::testing::integers({1}));
    const Tensor nowhere(reinterpret_cast<void*>(uintptr_t{1} << 46), DType::bf16, Shape{4, 64});
    gpu.ops->begin_step();
    if (!gpu.machine->fault().empty()) return 1;
    for (int attempt = 0; attempt < 2; ++attempt) {
        try {
            gpu.get(gpu.ops->gather_rows(nowhere, index));
            return 2;
        } catch (const Error& error) {
            std::fprintf(stderr, "error: %s\n", error.what());
        }
    }
    const std::string fault = gpu.machine->fault();
    std::fprintf(stderr, "fault: %s\n", fault.c_str());
    return fault.find("illegal") == std::string::npos ? 3 : 0;
}

TEST(CudaFaultDeathTest, AnIllegalAddressIsAFaultForGood) {
    GTEST_FLAG_SET(death_test_style, "threadsafe");
    EXPECT_EXIT(std::_Exit(read_nowhere()), ::testing::ExitedWithCode(0), "illegal memory access");
}

}  // namespace
}  // namespace sheaf::cuda
