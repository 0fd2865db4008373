// Bench of the matrix kernels: time, bytes, share of the peaks. Every repetition reads fresh weights
// (together more than the L2), in a replayed graph. Usage: sheaf_cuda_matrix_bench
// [TOKENS|by_rows|tiles|bulk|lanes|chosen|moe262|moe35|linear|
// head|router|load]..., in order: TOKENS is the most to try from there on, the next five force the kernels.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <functional>
#include <set>

#include "backend/cuda/matrix/dispatch.h"
#include "backend/cuda/matrix/testing.h"

namespace sheaf::cuda {
namespace {

using namespace testing;

int64_t most_tokens = 4096;

constexpr double peak_bytes = 4.3e12, peak_flops = 790e12;  // measured: copy, bf16 8192 cube

/// Seconds per call of a captured sequence of `calls`.
double seconds(int calls, const std::function<void(int, cudaStream_t)>& work) {
    cudaStream_t stream;
    cudaGraph_t graph;
    cudaGraphExec_t exec;
    cudaEvent_t begin, end;
    check(cudaStreamCreate(&stream), "bench");
    for (int i = 0; i < calls; ++i) work(i, stream);
    check(cudaStreamSynchronize(stream), "bench");
    check(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), "bench");
    for (int i = 0; i < calls; ++i) work(i, stream);
    check(cudaStreamEndCapture(stream, &graph), "bench");
    check(cudaGraphInstantiate(&exec, graph, 0), "bench");
    check(cudaEventCreate(&begin), "bench");
    check(cudaEventCreate(&end), "bench");
    std::vector<float> times;
    float spent = 0;
    for (int repeat = 0; repeat < 12 && (repeat < 3 || spent < 250); ++repeat) {
        check(cudaEventRecord(begin, stream), "bench");
        check(cudaGraphLaunch(exec, stream), "bench");
        check(cudaEventRecord(end, stream), "bench");
        check(cudaStreamSynchronize(stream), "bench");
        float ms = 0;
        check(cudaEventElapsedTime(&ms, begin, end), "bench");
        if (repeat > 0) times.push_back(ms);
        spent += ms;
    }
    std::sort(times.begin(), times.end());
    cudaGraphExecDestroy(exec);
    cudaGraphDestroy(graph);
    cudaStreamDestroy(stream);
    cudaEventDestroy(begin);
    cudaEventDestroy(end);
    return static_cast<double>(times[times.size() / 2]) * 1e-3 / calls;
}

void report(const char* name, int64_t tokens, double time, double bytes, double flops) {
    std::printf("%-26s %5ld tokens %9.2f us %9.1f MB %6.2f TB/s %4.0f %%  %6.1f TFLOP/s %4.0f %%\n", name,
                static_cast<long>(tokens), time * 1e6, bytes / 1e6, bytes / time / 1e12,
                100 * bytes / time / peak_bytes, flops / time / 1e12, 100 * flops / time / peak_flops);
    std::fflush(stdout);
}

DeviceTensor activations(int64_t rows, int64_t columns) {
    return DeviceTensor(DType::bf16, Shape{rows, columns}, random_floats(rows * columns, 8));
}

std::vector<int32_t> uniform_routing(int64_t tokens, int64_t top_k, int64_t experts, uint64_t key) {
    std::vector<int32_t> ids;
    for (int64_t t = 0; t < tokens; ++t) {
        std::set<int32_t> chosen;
        for (uint64_t i = 0; static_cast<int64_t>(chosen.size()) < top_k; ++i)
            chosen.insert(static_cast<int32_t>(counter_random_bits(key + static_cast<uint64_t>(t) * 131, i) %
                                               static_cast<uint64_t>(experts)));
        ids.insert(ids.end(), chosen.begin(), chosen.end());
    }
    return ids;
}

void bench_moe(const char* name, int64_t count, int64_t hidden, int64_t inner, int64_t top_k, int layers) {
    std::vector<std::shared_ptr<const CudaExperts>> experts;
    for (int i = 0; i < layers; ++i)
        experts.push_back(random_experts(count, hidden, inner, 128, 1000u + static_cast<uint64_t>(i) * 7777,
                                         allocate, nullptr));
    const double expert_bytes =
        static_cast<double>(experts[0]->device().gate_up_stride + experts[0]->device().down_stride);
    for (const int64_t tokens : {1, 2, 4, 8, 16, 32, 64, 128, 256, 1024, 4096}) {
        if (tokens > most_tokens) continue;
        const DeviceTensor x = activations(tokens, hidden), y(DType::bf16, Shape{tokens, hidden});
        const Buffer scratch = allocate(moe_scratch_bytes(*experts[0], tokens, top_k));
        std::vector<DeviceTensor> ids;
        double touched = 0;
        for (int i = 0; i < layers; ++i) {
            const auto chosen = uniform_routing(tokens, top_k, count, 77u + static_cast<uint64_t>(i) * 999);
            touched += static_cast<double>(std::set<int32_t>(chosen.begin(), chosen.end()).size()) / layers;
            ids.emplace_back(Shape{tokens, top_k}, chosen);
        }
        const DeviceTensor weights(
            DType::f32, Shape{tokens, top_k},
            std::vector<float>(static_cast<size_t>(tokens * top_k), 1.0f / static_cast<float>(top_k)));
        const double time = seconds(layers, [&](int i, cudaStream_t stream) {
            const auto at = static_cast<size_t>(i);
            moe(x, {ids[at], weights}, *experts[at], y, scratch_of(scratch), stream);
        });
        report(name, tokens, time, touched * expert_bytes + 4.0 * static_cast<double>(tokens * hidden),
               6.0 * static_cast<double>(tokens * top_k * hidden * inner));
    }
}

void bench_linear(const char* name, int64_t out, int64_t in, int64_t group,
                  const std::vector<int64_t>& counts, DType type) {
    const auto one = random_linear(out, in, group, 5, allocate, nullptr);
    const int copies = static_cast<int>(std::clamp<double>(400e6 / static_cast<double>(one->bytes()), 2, 40));
    std::vector<std::shared_ptr<const CudaLinear>> weights{one};
    for (int i = 1; i < copies; ++i)
        weights.push_back(random_linear(out, in, group, 5u + static_cast<uint64_t>(i), allocate, nullptr));
    for (const int64_t tokens : counts) {
        if (tokens > most_tokens) continue;
        const DeviceTensor x = activations(tokens, in), y(type, Shape{tokens, out});
        const Buffer scratch = allocate(linear_scratch_bytes(*one, tokens));
        const double time = seconds(copies, [&](int i, cudaStream_t stream) {
            linear(x, *weights[static_cast<size_t>(i)], y, scratch_of(scratch), stream);
        });
        const auto rows = static_cast<double>(tokens);
        report(name, tokens, time,
               static_cast<double>(one->bytes()) +
                   rows * (2.0 * static_cast<double>(in) +
                           static_cast<double>(dtype_size(type)) * static_cast<double>(out)),
               2.0 * rows * static_cast<double>(out) * static_cast<double>(in));
    }
}

void bench_router(int64_t experts, int64_t hidden, int64_t top_k) {
    std::vector<std::shared_ptr<const CudaLinear>> routers;
    for (uint64_t i = 0; i < 40; ++i)
        routers.push_back(random_linear(experts, hidden, 0, i, allocate, nullptr));
    for (const int64_t tokens : {1, 2, 4, 8, 64, 4096}) {
        if (tokens > most_tokens) continue;
        const DeviceTensor x = activations(tokens, hidden);
        const DeviceTensor ids(DType::i32, Shape{tokens, top_k}), weights(DType::f32, Shape{tokens, top_k});
        const Buffer scratch = allocate(route_scratch_bytes(*routers[0], tokens));
        const double time = seconds(tokens > 64 ? 4 : 40, [&](int i, cudaStream_t stream) {
            route(x, *routers[static_cast<size_t>(i)], top_k, {ids, weights}, scratch_of(scratch), stream);
        });
        report("router", tokens, time,
               static_cast<double>(routers[0]->bytes()) + 2.0 * static_cast<double>(tokens * hidden),
               2.0 * static_cast<double>(tokens * experts * hidden));
    }
}

/// Experts of one layer from host memory: copy to pinned memory, to the GPU, repacking.
void bench_load() {
    const auto key = uint64_t{5};
    const HostLinear gate_up = cpu::testing::int4_linear(2048, 4096, key),
                     down = cpu::testing::int4_linear(4096, 1024, key + 9);
    const HostExpert expert{gate_up.output_slice(0, 1024), gate_up.output_slice(1024, 2048), down};
    Stager link;
    for (int repeat = 0; repeat < 2; ++repeat) {
        const auto begin = std::chrono::steady_clock::now();
        const auto experts = prepare_experts(
            333, 4096, 1024, [&](int64_t) { return expert; }, ComputeType::bf16, link,
            [](size_t bytes) {
                void* data = nullptr;
                check(cudaMalloc(&data, bytes), "bench");
                return Buffer(data, bytes, [](void* p) { cudaFree(p); });
            });
        const double time = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
        std::printf("load 333 experts: %.0f MB in %.0f ms, %.1f GB/s\n",
                    static_cast<double>(experts->bytes()) / 1e6, time * 1e3,
                    static_cast<double>(experts->bytes()) / 1e9 / time);
    }
}

void run(const std::string& what) {
    if (what == "load") bench_load();
    if (std::isdigit(what[0])) most_tokens = std::stoll(what);
    const std::vector<int64_t> counts{1, 2, 4, 8, 16, 32, 64, 128, 4096};
    static ForcedPaths forced;
    if (what == "by_rows") forced = {LinearPath::stream, MoePath::by_rows, forced.fill};
    if (what == "tiles") forced = {LinearPath::tiles, MoePath::tiles, forced.fill};
    if (what == "chosen") forced = {};
    if (what == "bulk") forced.fill = Fill::bulk;
    if (what == "lanes") forced.fill = Fill::lanes;
    force_paths(forced);
    if (what == "moe262") bench_moe("moe 333x4096x1024 top 10", 333, 4096, 1024, 10, 6);
    if (what == "moe35") bench_moe("moe 256x2048x512 top 8", 256, 2048, 512, 8, 12);
    if (what == "linear") {
        bench_linear("int4 12288x4096", 12288, 4096, 128, counts, DType::bf16);
        bench_linear("int4 4096x8192", 4096, 8192, 128, counts, DType::bf16);
        bench_linear("int4 8192x2048", 8192, 2048, 128, counts, DType::bf16);
        bench_linear("int4 2048x4096", 2048, 4096, 128, {1, 8, 64}, DType::bf16);
        bench_linear("int4 1024x4096", 1024, 4096, 128, {1, 8, 64}, DType::bf16);
        bench_linear("int4 4096x1024", 4096, 1024, 128, {1, 8, 64}, DType::bf16);
        bench_linear("int4 64x4096", 64, 4096, 128, {1, 8, 64}, DType::bf16);
    }
    if (what == "head") {
        bench_linear("bf16 248320x4096", 248320, 4096, 0, {1, 2, 8, 32, 128}, DType::f32);
        bench_linear("bf16 248320x2048", 248320, 2048, 0, {1, 8, 32, 128}, DType::f32);
        bench_linear("bf16 4096x4096", 4096, 4096, 0, {1, 8, 64, 4096}, DType::bf16);
    }
    if (what == "router") {
        bench_router(333, 4096, 10);
        bench_router(256, 2048, 8);
    }
}

}  // namespace
}  // namespace sheaf::cuda

int main(int count, char** words) {
    try {
        for (int i = 1; i < count; ++i) sheaf::cuda::run(words[i]);
        if (count == 1)
            for (const char* what : {"moe262", "moe35", "linear", "head", "router"}) sheaf::cuda::run(what);
    } catch (const std::exception& error) {
        std::printf("%s\n", error.what());
        return 1;
    }
    return 0;
}
