// The streaming kernel of linear layers.
#include "backend/cuda/cuda_error.h"
#include "backend/cuda/matrix/launch.h"
#include "backend/cuda/matrix/stream.cuh"
#include "backend/cuda/matrix/stream.h"

namespace sheaf::cuda {

namespace {

struct LinearCall {
    DeviceMatrix weight;
    const __nv_bfloat16* x;
    int64_t x_stride;
    int tokens;
    void* y;
    bool wide;  // f32 results
    int64_t y_stride;
    StreamLinearPlan plan;
    Fill fill;
};

__device__ void store_result(const LinearCall& call, int64_t n, int column, float value) {
    if (n >= call.weight.out || column >= call.tokens) return;
    if (call.weight.bias) value += call.weight.bias[n];
    const int64_t at = column * call.y_stride + n;
    if (call.wide)
        static_cast<float*>(call.y)[at] = value;
    else
        static_cast<__nv_bfloat16*>(call.y)[at] = __float2bfloat16_rn(value);
}

/// int4: registers for two blocks on a multiprocessor: the next kernel's fill their rings while this one
/// ends.
template <class Format>
__global__ void __launch_bounds__(stream_threads, Format::packed ? 2 : 1)
    stream_linear(const __grid_constant__ LinearCall call) {
    extern __shared__ __align__(128) uint8_t shared[];
    const DeviceMatrix& m = call.weight;
    const UnitSizes sizes = unit_sizes<Format>(m);
    const Share share(m.blocks, call.plan.slices);
    const int first = share.first_unit(sizes.units), count = share.unit_count(sizes.units);
    const auto run_of = [&](int turn) {
        return sizes.run(m.data + share.item(turn) * sizes.block_bytes, first, count);
    };
    WarpRing ring(shared, call.plan.ring, call.fill);
    Filler<Format, decltype(run_of)> filler(run_of, share.turns());
    filler.fill_all(ring);  // weights depend on no kernel
    allow_next_kernel();
    uint8_t* staged = shared + call.plan.ring.bytes;
    const Sums sums{reinterpret_cast<float4*>(staged + call.plan.staged_bytes), (call.tokens + 1) / 2,
                    call.plan.turns};
    wait_for_previous_kernel();
    using Columns = Staged<Format>;
    Columns::stage(staged, {call.x, call.tokens, call.x_stride, 1, 0, static_cast<int>(m.in)});
    Columns::wait_for_stage();
    __syncthreads();
    const Columns columns(staged, call.tokens, static_cast<int>((m.in + 127) / 128));
    work(
        share, sums,
        [&](int, float(&total)[4]) { multiply_run<Format>(ring, filler, m, first, count, columns, total); },
        [&](int block, int g, int t, float4 sum) {
            const int64_t n = static_cast<int64_t>(block) * 16 + g;
            store_result(call, n, 2 * t, sum.x);
            store_result(call, n, 2 * t + 1, sum.y);
            store_result(call, n + 8, 2 * t, sum.z);
            store_result(call, n + 8, 2 * t + 1, sum.w);
        });
}

template <class Format>
void launch(const LinearCall& call, cudaStream_t stream) {
    if (Format::packed) share_processors(stream_linear<Format>);
    launch_kernel(stream_linear<Format>, static_cast<unsigned>(call.plan.blocks), stream_threads,
                  call.plan.shared_bytes, stream, "stream_linear", call);
}

void launch_columns(const Tensor& x, const DeviceMatrix& weight, const Tensor& y,
                    const StreamLinearPlan& plan, cudaStream_t stream) {
    const LinearCall call{weight,
                          static_cast<const __nv_bfloat16*>(x.raw()),
                          x.row_stride(),
                          static_cast<int>(x.size(0)),
                          y.raw(),
                          y.dtype() == DType::f32,
                          y.row_stride(),
                          plan,
                          weight.store == Store::int4 ? stream_fill() : Fill::lanes};
    if (weight.store != Store::int4) return launch<Bf16Units>(call, stream);
    if (is_simple(weight)) return launch<Int4Format<true>>(call, stream);
    launch<Int4Format<false>>(call, stream);
}

}  // namespace

void launch_stream_linear(const Tensor& x, const DeviceMatrix& weight, const Tensor& y, cudaStream_t stream) {
    const StreamLinearPlan plan = plan_stream_linear(weight, x.size(0));
    SHEAF_CHECK(plan.ring.slots > 0, "no room to stream {} inputs", weight.in);
    for (int64_t begin = 0; begin < x.size(0); begin += plan.columns) {
        const int64_t end = begin + plan.columns < x.size(0) ? begin + plan.columns : x.size(0);
        launch_columns(x.rows(begin, end), weight, y.rows(begin, end), plan, stream);
    }
}

}  // namespace sheaf::cuda
