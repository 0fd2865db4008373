// Norms, gates and rotation: checks, and how many threads hold a group.
#include "backend/cuda/cuda_error.h"
#include "backend/cuda/sequence/sequence.h"
#include "backend/cuda/sequence/tensors.h"

namespace sheaf::cuda {
namespace {

/// Threads that share a group of up to `dim` columns, in vectors of 8: one vector a thread as long as that
/// fills blocks of at most 512, so that a single row is done in one round of loads.
struct NormShape {
    int32_t dim, threads, vectors;
};
constexpr NormShape norm_shapes[] = {{256, 32, 1}, {1024, 128, 1}, {4096, 512, 1}, {8192, 512, 2}};

NormWork norm_work(NormKind kind, const Tensor& x, int64_t dim, float epsilon, const Tensor& result) {
    SHEAF_CHECK(dim > 0 && x.size(1) % dim == 0, "{} columns, a norm over {}", x.size(1), dim);
    NormWork work;
    work.kind = kind;
    work.element = element_of(x.dtype());
    work.x = rows_of(x, x.dtype(), x.size(0), x.size(1));
    work.result = rows_of(result, x.dtype(), x.size(0), x.size(1));
    work.epsilon = epsilon;
    work.rows = x.size(0);
    work.groups = static_cast<int32_t>(x.size(1) / dim);
    work.dim = static_cast<int32_t>(dim);
    return work;
}

void run(NormWork work, cudaStream_t stream) {
    bool vectors = work.dim % 8 == 0 && reinterpret_cast<uintptr_t>(work.weight) % 16 == 0;
    for (const Rows* rows : {&work.x, &work.other, &work.result, &work.sum})
        vectors = vectors && fits_vectors(work.element, *rows);
    for (const NormShape& shape : norm_shapes)
        if (vectors && work.vectors == 0 && work.dim <= shape.dim) {
            work.threads = shape.threads;
            work.vectors = shape.vectors;
        }
    check(launch_norm(work, stream), "norm");
}

}  // namespace

void rms_norm(const Tensor& x, const Norm& norm, const Tensor& result, cudaStream_t stream) {
    const int64_t dim = norm.weight.size(0);
    NormWork work = norm_work(NormKind::rms, x, dim, norm.epsilon, result);
    work.weight = floats_of(norm.weight, dim);
    run(work, stream);
}

void add_rms_norm(const Tensor& x, const Tensor& residual, const Norm& norm, const Tensor& result,
                  const Tensor& sum, cudaStream_t stream) {
    const int64_t dim = norm.weight.size(0);
    NormWork work = norm_work(NormKind::add_rms, x, dim, norm.epsilon, result);
    work.weight = floats_of(norm.weight, dim);
    work.other = rows_of(residual, x.dtype(), x.size(0), x.size(1));
    work.sum = rows_of(sum, x.dtype(), x.size(0), x.size(1));
    run(work, stream);
}

void gated_rms_norm(const Tensor& x, const Tensor& gate, const Norm& norm, const Tensor& result,
                    cudaStream_t stream) {
    const int64_t dim = norm.weight.size(0);
    NormWork work = norm_work(NormKind::gated_rms, x, dim, norm.epsilon, result);
    work.weight = floats_of(norm.weight, dim);
    work.other = rows_of(gate, x.dtype(), x.size(0), x.size(1));
    run(work, stream);
}

void l2_norm(const Tensor& x, int64_t head_dim, float epsilon, const Tensor& result, cudaStream_t stream) {
    run(norm_work(NormKind::l2, x, head_dim, epsilon, result), stream);
}

void swiglu(const Tensor& gate, const Tensor& up, const Tensor& result, cudaStream_t stream) {
    const int64_t rows = gate.size(0), columns = gate.size(1);
    const Element element = element_of(gate.dtype());
    const Rows g = rows_of(gate, gate.dtype(), rows, columns), u = rows_of(up, gate.dtype(), rows, columns),
               y = rows_of(result, gate.dtype(), rows, columns);
    const bool vectors =
        columns % 8 == 0 && fits_vectors(element, g) && fits_vectors(element, u) && fits_vectors(element, y);
    check(launch_swiglu(element, g, u, y, rows, columns, vectors, stream), "swiglu");
}

void rotate(const Tensor& x, int64_t head_dim, const Tensor& positions, const Rotary& rotary,
            const Tensor& result, cudaStream_t stream) {
    const int64_t rows = x.size(0), columns = x.size(1);
    const Angles angles = angles_of(positions, rotary, rows);
    SHEAF_CHECK(columns % head_dim == 0 && 2 * angles.count <= head_dim);
    check(launch_rotate(element_of(x.dtype()), rows_of(x, x.dtype(), rows, columns),
                        rows_of(result, x.dtype(), rows, columns), rows,
                        static_cast<int32_t>(columns / head_dim), static_cast<int32_t>(head_dim), angles,
                        stream),
          "rotate");
}

}  // namespace sheaf::cuda
