// main() of the CUDA tests: where no GPU can be used they say so and count as skipped (exit status 77).
#include <cuda_runtime_api.h>
#include <gtest/gtest.h>

#include <cstdio>

int main(int count, char** words) {
    ::testing::InitGoogleTest(&count, words);
    int devices = 0;
    const cudaError_t status = cudaGetDeviceCount(&devices);
    if (status != cudaSuccess || devices == 0) {
        std::printf("skipped: no GPU to test on (%s)\n", cudaGetErrorString(status));
        return 77;
    }
    return RUN_ALL_TESTS();
}
