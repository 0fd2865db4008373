// Times of this folder's operators at the shapes of the 262B and 35B models: microseconds, bytes that must
// move, arithmetic, and the share of the machine's peaks. Every case is a recorded graph of calls over
// several sets of inputs, together larger than the L2, replayed and timed with events. Arguments: substrings
// of the names to run.
#include <cstdio>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <tuple>

#include "backend/cuda/sequence/choices.h"
#include "backend/cuda/sequence/testing.h"

namespace sheaf::cuda {
namespace {

using namespace testing;

constexpr double peak_bytes = 4.3e12, peak_flops = 790e12;  // copy and dense bf16 of one H200
constexpr size_t cold = size_t{160} << 20;                  // bytes of input sets that the L2 cannot hold

std::vector<std::string> wanted;

bool is_wanted(const std::string& name) {
    for (const std::string& word : wanted)
        if (name.find(word) != std::string::npos) return true;
    return wanted.empty();
}

/// Random numbers, one stretch of them repeated.
DeviceTensor filled(DType dtype, Shape shape, double scale = 1.0) {
    DeviceTensor tensor(dtype, shape);
    const int64_t stretch = std::min<int64_t>(shape.elements(), 1 << 20);
    static std::map<std::tuple<DType, int64_t, double>, DeviceTensor> seeds;
    DeviceTensor& seed = seeds[{dtype, stretch, scale}];
    if (!seed.view().defined()) seed = DeviceTensor(dtype, Shape{stretch}, random_floats(stretch, 77, scale));
    const size_t size = seed.view().bytes();
    for (size_t at = 0; at < tensor.view().bytes(); at += size)
        check(cudaMemcpy(static_cast<char*>(tensor.view().raw()) + at, seed.view().raw(),
                         std::min(size, tensor.view().bytes() - at), cudaMemcpyDeviceToDevice),
              "fill");
    return tensor;
}

/// Seconds of one call; call i gets i % sets.
double seconds_of(int sets, const std::function<void(int, cudaStream_t)>& call) {
    cudaStream_t stream;
    check(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "stream");
    const int calls = std::max(sets, 10);
    cudaGraph_t graph;
    cudaGraphExec_t executable;
    call(0, stream);
    check(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), "capture");
    for (int i = 0; i < calls; ++i) call(i % sets, stream);
    check(cudaStreamEndCapture(stream, &graph), "capture");
    check(cudaGraphInstantiate(&executable, graph, 0), "graph");
    cudaEvent_t start, stop;
    check(cudaEventCreate(&start), "event");
    check(cudaEventCreate(&stop), "event");
    std::vector<float> times;
    for (int i = 0; i < 6; ++i) {
        check(cudaEventRecord(start, stream), "event");
        check(cudaGraphLaunch(executable, stream), "graph");
        check(cudaEventRecord(stop, stream), "event");
        check(cudaStreamSynchronize(stream), "graph");
        float milliseconds = 0;
        check(cudaEventElapsedTime(&milliseconds, start, stop), "event");
        if (i > 0) times.push_back(milliseconds);
    }
    std::sort(times.begin(), times.end());
    cudaEventDestroy(start), cudaEventDestroy(stop);
    cudaGraphExecDestroy(executable), cudaGraphDestroy(graph), cudaStreamDestroy(stream);
    return static_cast<double>(times[times.size() / 2]) * 1e-3 / calls;
}

void report(const std::string& name, double seconds, double bytes, double flops) {
    std::printf("%-44s %9.2f us %9.2f MB %5.1f %% of bandwidth %9.2f GFLOP %5.1f %% of bf16\n", name.c_str(),
                seconds * 1e6, bytes * 1e-6, 100 * bytes / seconds / peak_bytes, flops * 1e-9,
                100 * flops / seconds / peak_flops);
    std::fflush(stdout);
}

int sets_for(double bytes) {
    return static_cast<int>(std::clamp(static_cast<double>(cold) / bytes, 1.0, 40.0)) + 1;
}

void bench_norm(int64_t rows, int64_t columns) {
    const std::string name = fmt::format("add_rms_norm {} x {}", rows, columns);
    if (!is_wanted(name)) return;
    const double bytes = 8.0 * static_cast<double>(rows * columns);
    const int sets = sets_for(bytes);
    std::vector<DeviceTensor> x;
    for (int i = 0; i < 4 * sets; ++i) x.push_back(filled(DType::bf16, Shape{rows, columns}));
    const DeviceTensor weight = filled(DType::f32, Shape{columns});
    const double seconds = seconds_of(sets, [&](int set, cudaStream_t stream) {
        const size_t i = static_cast<size_t>(4 * set);
        add_rms_norm(x[i], x[i + 1], {weight.view(), 1e-6f}, x[i + 2], x[i + 3], stream);
    });
    report(name, seconds, bytes, 0);
}

std::vector<SequenceRun> equal_runs(int sequences, int count, int context) {
    return std::vector<SequenceRun>(static_cast<size_t>(sequences), SequenceRun{count, context});
}

void bench_convolution(int sequences, int count, int64_t channels) {
    const std::string name = fmt::format("conv1d {} x {} rows, {} channels", sequences, count, channels);
    if (!is_wanted(name)) return;
    const TestBatch batch(equal_runs(sequences, count, 4), 64);
    const double bytes = 4.0 * static_cast<double>(batch.tokens * channels) +
                         static_cast<double>(sequences * 6 * 4 * channels) +
                         16.0 * static_cast<double>(channels);
    const int sets = sets_for(bytes);
    std::vector<DeviceTensor> x, weight, state;
    for (int i = 0; i < 2 * sets; ++i) x.push_back(filled(DType::bf16, Shape{batch.tokens, channels}));
    for (int i = 0; i < sets; ++i) {
        weight.push_back(filled(DType::f32, Shape{channels, 4}));
        state.push_back(filled(DType::f32, Shape{batch.slot_count(), 3, channels}));
    }
    const double seconds = seconds_of(sets, [&](int set, cudaStream_t stream) {
        const auto i = static_cast<size_t>(set);
        causal_conv1d(x[2 * i], weight[i], {state[i].view(), {}}, batch.host, x[2 * i + 1], stream);
    });
    report(name, seconds, bytes, 0);
}

void bench_delta(int sequences, int count, int64_t heads) {
    const std::string name = fmt::format("delta rule {} x {} rows, {} heads", sequences, count, heads);
    if (!is_wanted(name)) return;
    constexpr int64_t keys = 16 * 128;
    const int64_t values = heads * 128;
    const TestBatch batch(equal_runs(sequences, count, 100), 64);
    const double state_bytes = static_cast<double>(sequences * values) * 128 * 4;
    const double tokens = batch.tokens, v = static_cast<double>(values);
    const double bytes = 2 * state_bytes + tokens * 2 * (2 * v + 2.0 * keys);
    const double flops = tokens * v * (count > 8 ? 2.0 * (64 + 64 + 3 * 128 + 64) : 6.0 * 128);
    const int sets = sets_for(bytes);
    std::vector<DeviceTensor> qkv, gates, state, result;
    for (int i = 0; i < sets; ++i) {
        qkv.push_back(filled(DType::bf16, Shape{batch.tokens, 2 * keys + values}));
        gates.push_back(filled(DType::bf16, Shape{batch.tokens, 2 * heads}));
        state.push_back(filled(DType::f32, Shape{batch.slot_count(), heads, 128, 128}, 0.1));
        result.push_back(filled(DType::bf16, Shape{batch.tokens, values}));
    }
    const DeviceTensor a_log = filled(DType::f32, Shape{heads}), bias = filled(DType::f32, Shape{heads});
    auto input = [&](size_t i) {
        const Tensor &x = qkv[i].view(), &ab = gates[i].view();
        return DeltaRuleInput{x.columns(0, keys),
                              x.columns(keys, 2 * keys),
                              x.columns(2 * keys, 2 * keys + values),
                              ab.columns(0, heads),
                              ab.columns(heads, 2 * heads),
                              a_log.view(),
                              bias.view(),
                              16,
                              heads,
                              128,
                              128};
    };
    const DeviceTensor scratch = scratch_of(gated_delta_rule_scratch_bytes(input(0), batch.host));
    const double seconds = seconds_of(sets, [&](int set, cudaStream_t stream) {
        const auto i = static_cast<size_t>(set);
        gated_delta_rule(input(i), {{}, state[i].view()}, batch.host, result[i], scratch, stream);
    });
    report(name, seconds, bytes, flops);
}

void bench_delta_net(int sequences, int64_t heads, DType state_dtype = DType::f32) {
    std::string name = fmt::format("delta net step {} rows, {} heads", sequences, heads);
    if (state_dtype == DType::bf16) name += ", bf16";
    if (!is_wanted(name)) return;
    const int64_t values = heads * 128, channels = values + 4096;
    const TestBatch batch(equal_runs(sequences, 1, 100), 64);
    const double bytes =
        static_cast<double>(sequences) *
            (static_cast<double>(values) * (256 * static_cast<double>(dtype_size(state_dtype)) + 4) +
             static_cast<double>(channels) * 26) +
        16.0 * static_cast<double>(channels);
    const int sets = sets_for(bytes);
    std::vector<DeviceTensor> x, gate, ab, conv, past, state, result;
    for (int i = 0; i < sets; ++i) {
        x.push_back(filled(DType::bf16, Shape{batch.tokens, channels}));
        gate.push_back(filled(DType::bf16, Shape{batch.tokens, values}));
        ab.push_back(filled(DType::bf16, Shape{batch.tokens, 2 * heads}));
        conv.push_back(filled(DType::f32, Shape{channels, 4}));
        past.push_back(filled(DType::f32, Shape{batch.slot_count(), 3, channels}));
        state.push_back(filled(state_dtype, Shape{batch.slot_count(), heads, 128, 128}, 0.1));
        result.push_back(filled(DType::bf16, Shape{batch.tokens, values}));
    }
    const DeviceTensor a_log = filled(DType::f32, Shape{heads}), weight = filled(DType::f32, Shape{128});
    const double seconds = seconds_of(sets, [&](int set, cudaStream_t stream) {
        const auto i = static_cast<size_t>(set);
        DeltaNetInput input{x[i].view(), conv[i].view(), gate[i].view(), {}, {weight.view(), 1e-6f}};
        input.rule.a = ab[i].view().columns(0, heads), input.rule.b = ab[i].view().columns(heads, 2 * heads);
        input.rule.a_log = input.rule.dt_bias = a_log.view();
        input.rule.key_heads = 16, input.rule.value_heads = heads;
        input.rule.key_dim = input.rule.value_dim = 128;
        delta_net_step(input, {past[i].view(), state[i].view()}, batch.host, result[i], stream);
    });
    report(name, seconds, bytes, 0);
}

void bench_attention(int sequences, int count, int context, int64_t heads, DType page_dtype = DType::bf16) {
    const std::string name = fmt::format("attention {} x {} rows at {}, {} heads{}", sequences, count,
                                         context, heads, page_dtype == DType::bf16 ? "" : ", e4m3");
    if (!is_wanted(name)) return;
    constexpr int64_t kv_heads = 2, dim = 256, page = 64, half = 32;
    const TestBatch batch(equal_runs(sequences, count, context), page);
    const double n = count, pairs = sequences * (n * context + n * (n + 1) / 2);
    const double kv =
        2.0 * kv_heads * dim * static_cast<double>(dtype_size(page_dtype)) * sequences * (context + n);
    const double bytes = kv + static_cast<double>(batch.tokens * heads * dim) * 2 * 3;
    const int sets = sets_for(bytes);
    const int64_t columns = heads * dim;
    std::vector<DeviceTensor> keys, values, input, result;
    for (int i = 0; i < sets; ++i) {
        for (auto* pages : {&keys, &values}) {
            pages->push_back(DeviceTensor(page_dtype, Shape{batch.pages, page, kv_heads, dim}));
            if (page_dtype == DType::bf16)
                pages->back() = filled(page_dtype, pages->back().view().shape());
            else
                check(cudaMemset(pages->back().view().raw(), 0x31, pages->back().view().bytes()), "fill");
        }
        input.push_back(filled(DType::bf16, Shape{batch.tokens, 2 * columns + 2 * kv_heads * dim}));
        result.push_back(filled(DType::bf16, Shape{batch.tokens, columns}));
    }
    const DeviceTensor weight = filled(DType::f32, Shape{dim}), frequencies = filled(DType::f32, Shape{half});
    const DeviceTensor axes(Shape{half}, std::vector<int32_t>(half, 0)),
        positions(Shape{3, batch.tokens}, std::vector<int32_t>(static_cast<size_t>(3 * batch.tokens), 77));
    auto work = [&](size_t i) {
        const Tensor& x = input[i].view();
        const int64_t k = 2 * columns, v = k + kv_heads * dim, end = v + kv_heads * dim;
        return GatedAttentionInput{
            x.columns(0, k),        x.columns(k, v), x.columns(v, end), {weight.view(), 1e-6f},
            {weight.view(), 1e-6f}, heads,           kv_heads,          dim};
    };
    auto layer = [&](size_t i) { return KvLayer{keys[i].view(), values[i].view()}; };
    const DeviceTensor scratch = scratch_of(gated_attention_scratch_bytes(work(0), layer(0), batch.host)),
                       arrivals(Shape{2048}, std::vector<int32_t>(2048, 0));
    const double seconds = seconds_of(sets, [&](int set, cudaStream_t stream) {
        const auto i = static_cast<size_t>(set);
        gated_attention(work(i), positions, {frequencies.view(), axes.view(), 1.0f}, layer(i), batch.host,
                        result[i], scratch, arrivals, stream);
    });
    report(name, seconds, bytes, 4.0 * pairs * static_cast<double>(columns));
}

/// Decode attention under every cut worth a look.
void bench_cuts() {
    const AttentionCut cuts[] = {{8, 8, 8, 64},    {8, 64, 64, 64}, {4, 4, 4, 64},   {4, 64, 64, 64},
                                 {4, 64, 64, 128}, {4, 32, 32, 64}, {2, 64, 64, 64}, {2, 2, 16, 64},
                                 {1, 1, 8, 64},    {1, 2, 8, 64}};
    for (const AttentionCut& cut : cuts) {
        std::printf("cluster %d usual %d most %d shortest %d\n", cut.cluster, cut.usual_parts, cut.most_parts,
                    cut.shortest_part);
        force_choices({false, false, cut});
        if (cut.usual_parts >= 4)
            for (const int context : {127, 1023, 4095, 32767}) bench_attention(1, 1, context, 32);
        for (const int context : {127, 1023, 4095, 32767}) bench_attention(8, 1, context, 32);
        if (cut.usual_parts <= 4)
            for (const int context : {127, 1023, 4095}) bench_attention(64, 1, context, 32);
    }
    force_choices({});
}

void bench_all() {
    for (const int rows : {1, 32, 8192}) bench_norm(rows, 4096);
    for (const int sequences : {1, 8, 32, 64}) bench_convolution(sequences, 1, 12288);
    bench_convolution(1, 8192, 12288);
    bench_convolution(8, 2048, 12288);
    for (const int sequences : {1, 2, 4, 8, 32, 64, 128}) bench_delta(sequences, 1, 64);
    for (const int sequences : {1, 8, 64}) bench_delta(sequences, 1, 32);
    for (const int sequences : {1, 2, 4, 8, 16, 32, 64, 128})
        for (const DType state : {DType::f32, DType::bf16}) bench_delta_net(sequences, 64, state);
    for (const int sequences : {1, 8, 32, 64}) bench_delta_net(sequences, 32);
    bench_delta(1, 4, 64);
    bench_delta(1, 4096, 64);
    bench_delta(1, 8192, 64);
    bench_delta(8, 1024, 64);
    bench_delta(8, 2048, 64);
    bench_delta(1, 4096, 32);
    for (const int context : {127, 1023, 4095, 32767, 131071}) bench_attention(1, 1, context, 32);
    for (const int context : {127, 1023, 4095, 32767}) bench_attention(8, 1, context, 32);
    for (const int context : {127, 1023, 4095}) bench_attention(64, 1, context, 32);
    for (const int context : {127, 1023, 32767}) bench_attention(1, 1, context, 32, DType::f8_e4m3);
    for (const int context : {1023, 4095}) bench_attention(64, 1, context, 32, DType::f8_e4m3);
    bench_attention(1, 4096, 0, 32, DType::f8_e4m3);
    bench_attention(1, 1, 1023, 16);
    bench_attention(1, 4, 32764, 32);
    bench_attention(1, 4096, 0, 32);
    bench_attention(8, 2048, 0, 32);
    bench_attention(1, 2048, 30720, 32);
}

}  // namespace
}  // namespace sheaf::cuda

int main(int count, char** words) {
    sheaf::cuda::wanted.assign(words + 1, words + count);
    if (!sheaf::cuda::wanted.empty() && sheaf::cuda::wanted[0] == "cuts") {
        sheaf::cuda::wanted.erase(sheaf::cuda::wanted.begin());
        sheaf::cuda::bench_cuts();
    }
    sheaf::cuda::bench_all();
}
