#include "backend/registry.h"

#include <gtest/gtest.h>

#include "backend/cuda/cuda_machine.h"

namespace sheaf {
namespace {

ErrorKind refusal(const std::string& device) {
    try {
        make_machine({.device = device, .threads = 1});
    } catch (const Error& error) {
        EXPECT_NE(std::string(error.what()).find(device), std::string::npos) << error.what();
        return error.kind();
    }
    ADD_FAILURE() << device << " was accepted";
    return ErrorKind::io;
}

TEST(Registry, NamesOfDevices) {
    EXPECT_EQ(make_machine({.device = "cpu", .compute = ComputeType::f32, .threads = 2})->compute_type(),
              ComputeType::f32);
    const bool gpu = cuda::is_usable();
    EXPECT_EQ(make_machine({.threads = 1})->name().substr(0, 4), gpu ? "cuda" : "cpu ");
    EXPECT_EQ(refusal("tpu"), ErrorKind::invalid_input);
    if (!gpu) {
        EXPECT_EQ(refusal("cuda:0"), ErrorKind::unsupported);
    }
    EXPECT_EQ(refusal("cuda:4096"), ErrorKind::unsupported);
    EXPECT_EQ(refusal("cuda:x"), ErrorKind::invalid_input);
    EXPECT_EQ(refusal("cuda:-1"), ErrorKind::invalid_input);
    EXPECT_EQ(list_devices().front().substr(0, 5), "cpu: ");
}

}  // namespace
}  // namespace sheaf
