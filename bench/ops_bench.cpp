// The CPU operators on the shapes of Qwen3.5-35B-A3B, each with its share of what the machine can do: bytes
// read against the measured bandwidth for one token, arithmetic against the measured fma peak for many.
//   sheaf_ops_bench [threads] [baseline|avx2|avx512]
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <functional>
#include <vector>

#include "backend/cpu/cpu_machine.h"
#include "base/counter_random.h"
#include "ops/ops.h"

namespace sheaf {
namespace {

constexpr int64_t hidden = 2048, intermediate = 512, experts = 256, top_k = 8;
constexpr int64_t heads = 16, kv_heads = 2, head_dim = 256;
constexpr int64_t key_heads = 16, value_heads = 32, delta_dim = 128;

HostTensor random_floats(DType dtype, Shape shape, uint64_t key) {
    HostTensor result(dtype, shape);
    for (int64_t i = 0; i < shape.elements(); ++i) {
        const auto value =
            static_cast<float>(2.0 * counter_random_uniform(key, static_cast<uint64_t>(i)) - 1.0);
        if (dtype == DType::f32) result.view.data<float>()[i] = value;
        if (dtype == DType::bf16) result.view.data<bfloat16>()[i] = bfloat16(value);
        if (dtype == DType::f16) result.view.data<float16>()[i] = float16(value);
    }
    return result;
}

HostLinear int4_linear(int64_t out, int64_t in) {
    Int4Weight weight;
    weight.group_size = 128;
    weight.codes = HostTensor(DType::i32, Shape{in / 8, out});
    auto* words = weight.codes.view.data<int32_t>();
    for (int64_t i = 0; i < in / 8 * out; ++i)
        words[i] = static_cast<int32_t>(counter_random_bits(1, static_cast<uint64_t>(i)));
    weight.scales = random_floats(DType::f16, Shape{in / 128, out}, 2);
    return {out, in, weight, {}};
}

HostLinear bf16_linear(int64_t out, int64_t in) {
    HostTensor values(DType::bf16, Shape{out, in});
    auto* numbers = values.view.data<bfloat16>();
    for (int64_t i = 0; i < out * in; ++i) numbers[i].bits = static_cast<uint16_t>(0x3c00 + i % 512);
    return {out, in, DenseWeight{values}, {}};
}

class Bench {
  public:
    explicit Bench(Machine& machine) : ops_(machine.make_ops()), peaks_(machine.measure_peaks()) {
        fmt::print("{}: read {:.1f} GB/s, fma {:.0f} GFLOP/s\n", machine.name(),
                   peaks_.read_bytes_per_second / 1e9, peaks_.flops_per_second / 1e9);
        fmt::print("{:<44} {:>10} {:>9} {:>6} {:>9} {:>6}\n", "operator", "us", "GB/s", "%", "GFLOP/s", "%");
    }

    Ops& ops() { return *ops_; }

    /// The median of a second of runs; run(i) with i counting up, so that it can take other weights each
    /// time.
    void time(const std::string& name, double bytes, double flops, const std::function<void(int64_t)>& run) {
        using clock = std::chrono::steady_clock;
        std::vector<double> seconds;
        double total = 0;
        for (int64_t i = 0; i < 3 || (total < 1.0 && i < 400); ++i) {
            ops_->begin_step();
            const auto begin = clock::now();
            run(i);
            const double taken = std::chrono::duration<double>(clock::now() - begin).count();
            if (i > 0) seconds.push_back(taken);
            total += taken;
        }
        std::nth_element(seconds.begin(), seconds.begin() + std::ssize(seconds) / 2, seconds.end());
        const double median = seconds[seconds.size() / 2];
        fmt::print("{:<44} {:>10.1f} {:>9.1f} {:>5.0f}% {:>9.1f} {:>5.0f}%\n", name, median * 1e6,
                   bytes / median / 1e9, 100 * bytes / median / peaks_.read_bytes_per_second,
                   flops / median / 1e9, 100 * flops / median / peaks_.flops_per_second);
    }

  private:
    std::unique_ptr<Ops> ops_;
    MachinePeaks peaks_;
};

void bench_linear(Machine& machine, Bench& bench, const char* name, const HostLinear& weight) {
    std::vector<Linear> copies;  // together beyond the caches
    size_t bytes = 0;
    while (bytes < (size_t{192} << 20)) {
        copies.push_back(machine.prepare(weight));
        bytes += copies.back()->bytes();
    }
    for (const int64_t rows : {1, 2, 3, 4, 8, 64, 512}) {
        const HostTensor x = random_floats(DType::f32, Shape{rows, weight.in}, 3);
        bench.time(
            fmt::format("linear {} {}x{}, {} rows", name, weight.out, weight.in, rows),
            static_cast<double>(copies[0]->bytes()), 2.0 * static_cast<double>(rows * weight.in * weight.out),
            [&](int64_t i) { bench.ops().linear(x.view, copies[static_cast<size_t>(i) % copies.size()]); });
    }
}

void bench_moe(Machine& machine, Bench& bench) {
    const HostLinear up = int4_linear(intermediate, hidden), down = int4_linear(hidden, intermediate);
    const Experts layer = machine.prepare_experts(experts, hidden, intermediate, [&](int64_t) {
        return HostExpert{up, up, down};
    });
    const double expert_bytes = static_cast<double>(layer->bytes()) / experts;
    for (const int64_t tokens : {1, 2, 4, 8, 64, 512}) {
        const HostTensor x = random_floats(DType::f32, Shape{tokens, hidden}, 3),
                         weights = random_floats(DType::f32, Shape{tokens, top_k}, 4);
        HostTensor ids(DType::i32, Shape{tokens, top_k});
        uint64_t counter = 0;
        auto choose = [&] {
            std::vector<bool> used(experts, false);
            for (int64_t t = 0; t < tokens; ++t) {
                std::vector<bool> taken(experts, false);
                for (int64_t j = 0; j < top_k;) {
                    const auto id = counter_random_bits(5, counter++) % experts;
                    if (taken[id]) continue;
                    taken[id] = used[id] = true;
                    ids.view.row<int32_t>(t)[j++] = static_cast<int32_t>(id);
                }
            }
            return std::count(used.begin(), used.end(), true);
        };
        const auto active = static_cast<double>(choose());
        bench.time(fmt::format("moe, {} tokens", tokens), active * expert_bytes,
                   2.0 * static_cast<double>(tokens * top_k * 3 * hidden * intermediate), [&](int64_t) {
                       bench.ops().moe(x.view, {ids.view, weights.view}, layer);
                       choose();  // other experts next time (the choice itself costs little)
                   });
    }
}

void bench_attention(Machine& machine, Bench& bench) {
    constexpr int64_t block = 16, length = 16384, pages = length / block;
    const Buffer keys = machine.allocate(static_cast<size_t>(length * kv_heads * head_dim * 2)),
                 values = machine.allocate(keys.bytes());
    const Shape shape{pages, block, kv_heads, head_dim};
    const KvLayer cache{keys.tensor(DType::bf16, shape), values.tensor(DType::bf16, shape)};
    std::vector<int32_t> blocks(pages);
    for (int32_t i = 0; i < pages; ++i) blocks[static_cast<size_t>(i)] = i;
    for (const auto& [context, count] :
         {std::pair<int32_t, int32_t>{1023, 1}, {16383, 1}, {0, 512}, {8192, 512}}) {
        const HostTensor query = random_floats(DType::f32, Shape{count, heads * head_dim}, 3);
        std::vector<SequenceSpan> spans{{0, count, context, 0, blocks}};
        Batch batch;
        batch.sequences = spans;
        const double pairs = (static_cast<double>(context) + 0.5 * (count + 1)) * count;
        bench.time(fmt::format("attention, {} rows after {}", count, context),
                   static_cast<double>((context + count) * 2 * kv_heads * head_dim * 2),
                   4.0 * pairs * heads * head_dim,
                   [&](int64_t) { bench.ops().attention(query.view, cache, batch, heads); });
    }
}

void bench_delta_net(Machine& machine, Bench& bench) {
    constexpr int64_t layers = 30, channels = 2 * key_heads * delta_dim + value_heads * delta_dim;
    const size_t state = value_heads * delta_dim * delta_dim * 4, conv = 3 * channels * 4;
    const Buffer recurrent = machine.allocate(layers * state), history = machine.allocate(layers * conv);
    const HostTensor taps = random_floats(DType::f32, Shape{channels, 4}, 1),
                     a_log = random_floats(DType::f32, Shape{value_heads}, 2);
    for (const int32_t count : {1, 64, 512}) {
        const HostTensor x = random_floats(DType::f32, Shape{count, channels}, 3),
                         gates = random_floats(DType::f32, Shape{count, value_heads}, 4);
        std::vector<SequenceSpan> spans{{0, count, 1, 0, {}}};
        Batch batch;
        batch.sequences = spans;
        auto layer_state = [&](int64_t i) {
            const auto at = static_cast<size_t>(i % layers);
            return StateLayer{
                history.tensor(DType::f32, Shape{1, 3, channels}, at * conv),
                recurrent.tensor(DType::f32, Shape{1, value_heads, delta_dim, delta_dim}, at * state)};
        };
        constexpr int64_t k = key_heads * delta_dim;
        DeltaRuleInput input{x.view.columns(0, k),
                             x.view.columns(k, 2 * k),
                             x.view.columns(2 * k, channels),
                             gates.view,
                             gates.view,
                             a_log.view,
                             a_log.view,
                             key_heads,
                             value_heads,
                             delta_dim,
                             delta_dim};
        bench.time(fmt::format("gated_delta_rule, {} tokens", count), 2.0 * state,
                   7.0 * static_cast<double>(count * value_heads * delta_dim * delta_dim),
                   [&](int64_t i) { bench.ops().gated_delta_rule(input, layer_state(i), batch); });
        bench.time(fmt::format("causal_conv1d, {} tokens", count), 2.0 * conv + 16.0 * channels,
                   8.0 * static_cast<double>(count * channels),
                   [&](int64_t i) { bench.ops().causal_conv1d(x.view, taps.view, layer_state(i), batch); });
    }
}

int run(int argc, char** argv) {
    cpu::Isa isa = cpu::best_isa();
    for (const cpu::Isa candidate : cpu::available_isas())
        if (argc > 2 && cpu::isa_name(candidate) == argv[2]) isa = candidate;
    const auto machine = cpu::make_cpu_machine(ComputeType::bf16, argc > 1 ? std::atoi(argv[1]) : 0, isa);
    Bench bench(*machine);
    bench_moe(*machine, bench);
    bench_linear(*machine, bench, "int4", int4_linear(8192, hidden));
    bench_linear(*machine, bench, "bf16", bf16_linear(4096, hidden));
    bench_attention(*machine, bench);
    bench_delta_net(*machine, bench);
    return 0;
}

}  // namespace
}  // namespace sheaf

int main(int argc, char** argv) {
    return sheaf::run(argc, argv);
}
