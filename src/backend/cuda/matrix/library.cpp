#include "backend/cuda/matrix/library.h"

#include <cublasLt.h>
#include <dlfcn.h>

#include <map>
#include <mutex>
#include <tuple>

#include "backend/cuda/cuda_error.h"

namespace sheaf::cuda {
namespace {

void check_library(cublasStatus_t status, const char* what) {
    if (status != CUBLAS_STATUS_SUCCESS)
        fail(ErrorKind::io, "cuBLASLt: {} failed (status {})", what, static_cast<int>(status));
}

/// The entry points that are used.
struct Library {
    decltype(&cublasLtCreate) create = nullptr;
    decltype(&cublasLtMatmul) multiply = nullptr;
    decltype(&cublasLtMatmulDescCreate) make_operation = nullptr;
    decltype(&cublasLtMatmulDescSetAttribute) set_operation = nullptr;
    decltype(&cublasLtMatrixLayoutCreate) make_layout = nullptr;
    decltype(&cublasLtMatmulPreferenceCreate) make_preference = nullptr;
    decltype(&cublasLtMatmulPreferenceSetAttribute) set_preference = nullptr;
    decltype(&cublasLtMatmulPreferenceDestroy) drop_preference = nullptr;
    decltype(&cublasLtMatmulAlgoGetHeuristic) choose = nullptr;
    cublasLtHandle_t handle = nullptr;

    Library() {
        void* file = nullptr;
        for (const char* name : {"libcublasLt.so.13", "libcublasLt.so"})
            if (!file) file = dlopen(name, RTLD_NOW | RTLD_LOCAL);
        if (!file) return;
        bool complete = true;
        const auto find = [&](auto& function, const char* name) {
            function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(dlsym(file, name));
            complete = complete && function;
        };
        find(create, "cublasLtCreate");
        find(multiply, "cublasLtMatmul");
        find(make_operation, "cublasLtMatmulDescCreate");
        find(set_operation, "cublasLtMatmulDescSetAttribute");
        find(make_layout, "cublasLtMatrixLayoutCreate");
        find(make_preference, "cublasLtMatmulPreferenceCreate");
        find(set_preference, "cublasLtMatmulPreferenceSetAttribute");
        find(drop_preference, "cublasLtMatmulPreferenceDestroy");
        find(choose, "cublasLtMatmulAlgoGetHeuristic");
        if (!complete || create(&handle) != CUBLAS_STATUS_SUCCESS) handle = nullptr;
    }
};

const Library& library() {
    static const Library instance;
    return instance;
}

/// What was chosen for one shape; kept for the life of the program.
struct Plan {
    cublasLtMatmulDesc_t operation = nullptr;
    cublasLtMatrixLayout_t w = nullptr, x = nullptr, y = nullptr;
    cublasLtMatmulAlgo_t algorithm{};
};

using Key = std::tuple<int64_t, int64_t, int64_t, int64_t, int64_t, int64_t, DType>;

/// Row-major (rows, columns) is column-major (columns, rows): y^T = (W^T)^T x^T.
Plan make_plan(const Key& key) {
    const Library& lib = library();
    const auto [tokens, out, in, w_stride, x_stride, y_stride, type] = key;
    Plan plan;
    const cublasOperation_t transposed = CUBLAS_OP_T;
    const auto size = [](int64_t value) { return static_cast<uint64_t>(value); };
    check_library(lib.make_operation(&plan.operation, CUBLAS_COMPUTE_32F, CUDA_R_32F), "an operation");
    check_library(
        lib.set_operation(plan.operation, CUBLASLT_MATMUL_DESC_TRANSA, &transposed, sizeof transposed),
        "an operation");
    check_library(lib.make_layout(&plan.w, CUDA_R_16BF, size(in), size(out), w_stride), "a layout");
    check_library(lib.make_layout(&plan.x, CUDA_R_16BF, size(in), size(tokens), x_stride), "a layout");
    check_library(lib.make_layout(&plan.y, type == DType::f32 ? CUDA_R_32F : CUDA_R_16BF, size(out),
                                  size(tokens), y_stride),
                  "a layout");
    cublasLtMatmulPreference_t preference = nullptr;
    const size_t workspace = library_workspace_bytes;
    check_library(lib.make_preference(&preference), "a preference");
    check_library(lib.set_preference(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &workspace,
                                     sizeof workspace),
                  "a preference");
    cublasLtMatmulHeuristicResult_t result{};
    int found = 0;
    check_library(lib.choose(lib.handle, plan.operation, plan.w, plan.x, plan.y, plan.y, preference, 1,
                             &result, &found),
                  "the choice of a kernel");
    lib.drop_preference(preference);
    if (found == 0)
        fail(ErrorKind::unsupported, "cuBLASLt has no product ({}, {}) x ({}, {})", tokens, in, in, out);
    plan.algorithm = result.algo;
    return plan;
}

}  // namespace

bool has_library() {
    return library().handle != nullptr;
}

void library_linear(const Tensor& x, const DeviceMatrix& weight, const Tensor& y, void* workspace,
                    cudaStream_t stream) {
    static std::mutex mutex;
    static std::map<Key, Plan> plans;
    const Key key{x.size(0),      weight.out,     weight.in, weight.row_stride,
                  x.row_stride(), y.row_stride(), y.dtype()};
    const Plan* plan = nullptr;
    {
        std::lock_guard lock(mutex);
        auto found = plans.find(key);
        if (found == plans.end()) found = plans.emplace(key, make_plan(key)).first;
        plan = &found->second;
    }
    const float one = 1, zero = 0;
    check_library(library().multiply(library().handle, plan->operation, &one, weight.data, plan->w, x.raw(),
                                     plan->x, &zero, y.raw(), plan->y, y.raw(), plan->y, &plan->algorithm,
                                     workspace, library_workspace_bytes, stream),
                  "a product");
}

}  // namespace sheaf::cuda
