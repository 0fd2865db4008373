#include "backend/cuda/devices.h"

#include <cuda_runtime_api.h>

#include "backend/cuda/architecture_probe.h"
#include "backend/cuda/cuda_error.h"
#include "backend/cuda/cuda_machine.h"

namespace sheaf::cuda {
namespace {

std::string version_text(int version) {
    return fmt::format("{}.{}", version / 1000, version % 1000 / 10);
}

/// The runtime reports "no driver" and "driver too old" as the same code.
[[noreturn]] void refuse_driver() {
    int driver = 0, runtime = 0;
    cudaDriverGetVersion(&driver);
    cudaRuntimeGetVersion(&runtime);
    if (driver == 0)
        fail(
            ErrorKind::unsupported,
            "no NVIDIA driver found on this machine (libcuda.so.1); install the driver, or use --device cpu");
    fail(ErrorKind::unsupported,
         "the NVIDIA driver is too old: it supports CUDA {}, this build needs {}; update the driver, or use "
         "--device cpu",
         version_text(driver), version_text(runtime));
}

}  // namespace

int device_count() {
    int count = 0;
    const cudaError_t status = cudaGetDeviceCount(&count);
    if (status == cudaErrorInsufficientDriver) refuse_driver();
    if (status == cudaErrorNoDevice) count = 0;
    if (status != cudaSuccess && status != cudaErrorNoDevice)
        fail(ErrorKind::unsupported, "the GPUs of this machine cannot be used: {} ({}); use --device cpu",
             cudaGetErrorString(status), cudaGetErrorName(status));
    if (count == 0)
        fail(ErrorKind::unsupported,
             "the NVIDIA driver shows no GPU (is one assigned to this machine or container? "
             "CUDA_VISIBLE_DEVICES hides them too); use --device cpu");
    return count;
}

DeviceInfo device_info(int index) {
    const int count = device_count();
    if (index < 0 || index >= count)
        fail(ErrorKind::unsupported, "there is no GPU {}: this machine has {}, numbered from 0", index,
             count);
    cudaDeviceProp properties{};
    check(cudaGetDeviceProperties(&properties, index), "properties of the GPU");
    DeviceInfo info;
    info.name = properties.name;
    info.major = properties.major;
    info.minor = properties.minor;
    info.processors = properties.multiProcessorCount;
    info.memory = properties.totalGlobalMem;
    info.l2_bytes = static_cast<size_t>(properties.l2CacheSize);
    info.shared_bytes = properties.sharedMemPerBlockOptin;
    check(cudaSetDevice(index), "choosing the GPU");
    if (const cudaError_t status = probe_architecture(); status != cudaSuccess) {
        cudaGetLastError();  // not to be met again by a later check
        fail(ErrorKind::unsupported,
             "this build has no kernels for {} (compute capability {}.{}): {}; build with "
             "-DCMAKE_CUDA_ARCHITECTURES={}{} or the preset 'cuda', or use --device cpu",
             info.name, info.major, info.minor, cudaGetErrorString(status), info.major, info.minor);
    }
    return info;
}

bool is_usable(std::string* reason) {
    try {
        device_info(0);
        return true;
    } catch (const Error& error) {
        if (reason) *reason = error.what();
        return false;
    }
}

std::vector<std::string> describe_devices() {
    std::vector<std::string> lines;
    int count = 0;
    try {
        count = device_count();
    } catch (const Error&) {
        return lines;
    }
    for (int index = 0; index < count; ++index) {
        try {
            const DeviceInfo info = device_info(index);
            lines.push_back(fmt::format("cuda:{}: {}, {:.1f} GiB, compute capability {}.{}", index, info.name,
                                        static_cast<double>(info.memory) / 0x1p30, info.major, info.minor));
        } catch (const Error& error) {
            lines.push_back(fmt::format("cuda:{}: {}", index, error.what()));
        }
    }
    return lines;
}

}  // namespace sheaf::cuda
