#include <gtest/gtest.h>

#include <numeric>

#include "backend/cuda/matrix/dispatch.h"
#include "backend/cuda/matrix/plain.h"
#include "backend/cuda/matrix/testing.h"

namespace sheaf::cuda {
namespace {

using namespace testing;
using cpu::testing::dense_linear;
using cpu::testing::fp8_linear;
using cpu::testing::int4_linear;
using cpu::testing::Int4Options;

using Load = std::function<HostExpert(int64_t)>;

struct Sizes {
    int64_t count, hidden, intermediate, top_k;
};

HostExpert int4_expert(int64_t i, const Sizes& sizes, Int4Options options = {}) {
    const auto key = static_cast<uint64_t>(5000 + 100 * i);
    const HostLinear gate_up = int4_linear(2 * sizes.intermediate, sizes.hidden, key, options);
    return {gate_up.output_slice(0, sizes.intermediate),
            gate_up.output_slice(sizes.intermediate, 2 * sizes.intermediate),
            int4_linear(sizes.hidden, sizes.intermediate, key + 10, options)};
}

HostExpert bf16_expert(int64_t i, const Sizes& sizes) {
    const auto key = static_cast<uint64_t>(7000 + 100 * i);
    return {dense_linear(sizes.intermediate, sizes.hidden, DType::bf16, key),
            dense_linear(sizes.intermediate, sizes.hidden, DType::bf16, key + 1),
            dense_linear(sizes.hidden, sizes.intermediate, DType::bf16, key + 2)};
}

HostExpert mixed_expert(int64_t i, const Sizes& sizes) {
    if (i % 3 == 0) return int4_expert(i, sizes);
    if (i % 3 == 1) return bf16_expert(i, sizes);
    HostExpert expert = bf16_expert(i, sizes);
    expert.down = fp8_linear(sizes.hidden, sizes.intermediate, 9000 + static_cast<uint64_t>(i), 16);
    return expert;
}

enum class Skew { uniform, one, few, repeated };

/// Distinct experts for every token; repeated: the same expert for all choices of a token.
std::vector<int32_t> random_ids(int64_t tokens, const Sizes& sizes, Skew skew) {
    std::vector<int32_t> ids;
    for (int64_t t = 0; t < tokens; ++t) {
        const int64_t range = skew == Skew::few ? sizes.top_k + 1 : sizes.count;
        const auto start = counter_random_bits(5, static_cast<uint64_t>(t)) % static_cast<uint64_t>(range);
        for (int64_t j = 0; j < sizes.top_k; ++j) {
            const int64_t id = skew == Skew::repeated ? t % 3 * (sizes.count / 3)
                               : skew == Skew::one
                                   ? sizes.count - 1 - j
                                   : (static_cast<int64_t>(start) + j * (range > 20 ? 7 : 1)) % range;
            ids.push_back(static_cast<int32_t>(id));
        }
    }
    return ids;
}

std::vector<float> random_weights(int64_t tokens, int64_t top_k) {
    auto values = random_floats(tokens * top_k, 99, 0.4);
    for (float& value : values) value += 0.5f;
    return values;
}

/// The definition in double precision.
std::vector<double> exact_moe(const std::vector<float>& x, const std::vector<int32_t>& ids,
                              const std::vector<float>& weights, const Sizes& sizes, const Load& load,
                              bool rounded) {
    const size_t tokens = x.size() / static_cast<size_t>(sizes.hidden), k = static_cast<size_t>(sizes.top_k);
    const size_t hidden = static_cast<size_t>(sizes.hidden), inner = static_cast<size_t>(sizes.intermediate);
    std::vector<double> y(x.size(), 0.0);
    for (int32_t e = 0; e < sizes.count; ++e) {
        if (std::find(ids.begin(), ids.end(), e) == ids.end()) continue;
        const HostExpert expert = load(e);
        const auto gate = exact_weight(expert.gate, rounded), up = exact_weight(expert.up, rounded),
                   down = exact_weight(expert.down, rounded);
        for (size_t t = 0; t < tokens; ++t)
            for (size_t j = 0; j < k; ++j) {
                if (ids[t * k + j] != e) continue;
                const std::vector<float> row(x.begin() + static_cast<int64_t>(t * hidden),
                                             x.begin() + static_cast<int64_t>((t + 1) * hidden));
                auto act = exact_product(row, gate, sizes.hidden);
                const auto other = exact_product(row, up, sizes.hidden);
                for (size_t i = 0; i < inner; ++i) act[i] = act[i] / (1.0 + std::exp(-act[i])) * other[i];
                const auto part = exact_product(act, down, sizes.intermediate);
                for (size_t n = 0; n < hidden; ++n)
                    y[t * hidden + n] += static_cast<double>(weights[t * k + j]) * part[n];
            }
    }
    return y;
}

std::vector<float> run(const Tensor& x, const std::vector<int32_t>& ids, const std::vector<float>& weights,
                       const CudaExperts& experts) {
    const int64_t tokens = x.size(0), k = static_cast<int64_t>(ids.size()) / tokens;
    const DeviceTensor device_ids(Shape{tokens, k}, ids),
        device_weights(DType::f32, Shape{tokens, k}, weights);
    const DeviceTensor y(x.dtype(), x.shape());
    const Buffer scratch = allocate(moe_scratch_bytes(experts, tokens, k));
    for (int repeat = 0; repeat < 2; ++repeat)  // what a call leaves behind must suit the next
        moe(x, {device_ids, device_weights}, experts, y, scratch_of(scratch), nullptr);
    return y.floats();
}

void check_experts(const char* name, const Sizes& sizes, const Load& load, bool rounded,
                   ComputeType compute) {
    const bool narrow = compute == ComputeType::bf16;
    const auto experts =
        prepare_experts(sizes.count, sizes.hidden, sizes.intermediate, load, compute, stager(), allocate);
    for (const Skew skew : {Skew::uniform, Skew::one, Skew::few, Skew::repeated})
        for (const int64_t tokens : {1, 2, 3, 7, 8, 9, 16, 33, 64, 129}) {
            auto values = random_floats(tokens * sizes.hidden, 6);
            if (narrow) values = rounded_to_bf16(values);
            const auto ids = random_ids(tokens, sizes, skew);
            const auto weights = random_weights(tokens, sizes.top_k);
            const auto wanted = exact_moe(values, ids, weights, sizes, load, rounded && narrow);
            const DeviceTensor x(narrow ? DType::bf16 : DType::f32, Shape{tokens, sizes.hidden}, values);
            EXPECT_LT(relative_error(run(x, ids, weights, *experts), wanted), narrow ? 6e-3 : 1e-5)
                << name << ", " << tokens << " tokens, routing " << static_cast<int>(skew);
        }
}

constexpr Sizes small{13, 128, 40, 4}, ragged{7, 72, 24, 3}, whole{11, 192, 128, 3};

TEST(CudaMoe, Int4EqualsTheDefinition) {
    check_experts(
        "int4", small, [](int64_t i) { return int4_expert(i, small); }, false, ComputeType::bf16);
    check_experts(
        "int4 ragged", ragged, [](int64_t i) { return int4_expert(i, ragged); }, false, ComputeType::bf16);
    check_experts(
        "int4 groups of 32 and zeros", small,
        [](int64_t i) { return int4_expert(i, small, {.group = 32, .zeros = Int4Options::random}); }, false,
        ComputeType::bf16);
    check_experts(
        "int4, f32", small, [](int64_t i) { return int4_expert(i, small); }, false, ComputeType::f32);
}

TEST(CudaMoe, FloatsEqualTheDefinition) {
    check_experts(
        "bf16", small, [](int64_t i) { return bf16_expert(i, small); }, false, ComputeType::bf16);
    check_experts(
        "bf16, f32", small, [](int64_t i) { return bf16_expert(i, small); }, false, ComputeType::f32);
    check_experts(
        "mixed", small, [](int64_t i) { return mixed_expert(i, small); }, true, ComputeType::bf16);
    check_experts(
        "mixed, f32", small, [](int64_t i) { return mixed_expert(i, small); }, true, ComputeType::f32);
}

/// Tiles need an inner size of whole units.
TEST(CudaMoe, EveryPathEqualsTheDefinition) {
    for (const MoePath path : {MoePath::by_tokens, MoePath::by_rows, MoePath::tiles}) {
        SCOPED_TRACE(static_cast<int>(path));
        force_paths({{}, path, {}});
        check_experts(
            "int4", whole, [](int64_t i) { return int4_expert(i, whole); }, false, ComputeType::bf16);
        check_experts(
            "int4 groups of 32 and zeros", whole,
            [](int64_t i) { return int4_expert(i, whole, {.group = 32, .zeros = Int4Options::random}); },
            false, ComputeType::bf16);
        check_experts(
            "int4 groups of 64, f32 scales", whole,
            [](int64_t i) { return int4_expert(i, whole, {.group = 64, .scales = DType::f32}); }, false,
            ComputeType::bf16);
        check_experts(
            "bf16", whole, [](int64_t i) { return bf16_expert(i, whole); }, false, ComputeType::bf16);
    }
    force_paths({});
}

TEST(CudaMoe, EveryFillEqualsTheDefinition) {
    for (const MoePath path : {MoePath::by_tokens, MoePath::by_rows})
        for (const Fill fill : {Fill::bulk, Fill::lanes}) {
            SCOPED_TRACE(10 * static_cast<int>(path) + static_cast<int>(fill));
            force_paths({{}, path, fill});
            check_experts(
                "int4", whole, [](int64_t i) { return int4_expert(i, whole); }, false, ComputeType::bf16);
            check_experts(
                "bf16", whole, [](int64_t i) { return bf16_expert(i, whole); }, false, ComputeType::bf16);
        }
    force_paths({});
}

TEST(CudaMoe, TilesOfMmaEqualTheDefinition) {
    force_paths({{}, MoePath::tiles, {}, TileEngine::mma});
    check_experts(
        "int4", whole, [](int64_t i) { return int4_expert(i, whole); }, false, ComputeType::bf16);
    check_experts(
        "int4 groups of 32 and zeros", whole,
        [](int64_t i) { return int4_expert(i, whole, {.group = 32, .zeros = Int4Options::random}); }, false,
        ComputeType::bf16);
    check_experts(
        "int4 groups of 128 and zeros", whole,
        [](int64_t i) { return int4_expert(i, whole, {.zeros = Int4Options::random}); }, false,
        ComputeType::bf16);
    force_paths({});
}

TEST(CudaMoe, ATokenDoesNotDependOnTheBatch) {
    force_paths(batch_invariant_paths);
    constexpr Sizes sizes{16, 256, 128, 4};
    const auto experts =
        random_experts(sizes.count, sizes.hidden, sizes.intermediate, 128, 5, allocate, nullptr);
    const DeviceTensor x(DType::bf16, Shape{60, sizes.hidden}, random_floats(60 * sizes.hidden, 6));
    const auto ids = random_ids(60, sizes, Skew::uniform);
    const auto weights = random_weights(60, sizes.top_k);
    const auto all = run(x, ids, weights, *experts);
    for (const int64_t row : {0, 8, 59})
        EXPECT_EQ(
            run(x.view().rows(row, row + 1), {ids.begin() + row * 4, ids.begin() + row * 4 + 4},
                {weights.begin() + row * 4, weights.begin() + row * 4 + 4}, *experts),
            std::vector<float>(all.begin() + row * sizes.hidden, all.begin() + (row + 1) * sizes.hidden));
    force_paths({});
}

TEST(CudaMoe, LargeShapesEqualThePlainKernels) {
    for (const Sizes sizes :
         {Sizes{333, 4096, 1024, 10}, Sizes{256, 2048, 512, 8}, Sizes{65, 3072, 1024, 8}}) {
        const auto experts =
            random_experts(sizes.count, sizes.hidden, sizes.intermediate, 128, 5, allocate, nullptr);
        for (const Skew skew : {Skew::uniform, Skew::one, Skew::few})
            for (const int64_t tokens : token_counts()) {
                if (tokens == 1000 && skew != Skew::uniform) continue;
                const auto ids = random_ids(tokens, sizes, skew);
                const auto weights = random_weights(tokens, sizes.top_k);
                const DeviceTensor x(DType::bf16, Shape{tokens, sizes.hidden},
                                     random_floats(tokens * sizes.hidden, 6));
                const DeviceTensor device_ids(Shape{tokens, sizes.top_k}, ids);
                const DeviceTensor device_weights(DType::f32, Shape{tokens, sizes.top_k}, weights);
                const DeviceTensor act(DType::f32, Shape{tokens * sizes.top_k, sizes.intermediate});
                const DeviceTensor wanted(DType::f32, Shape{tokens, sizes.hidden});
                launch_plain_gate_up(x, device_ids.view().data<int32_t>(), sizes.top_k, experts->device(),
                                     act.view().data<float>(), nullptr);
                launch_plain_down(act.view().data<float>(), device_ids.view().data<int32_t>(),
                                  device_weights.view().data<float>(), sizes.top_k, experts->device(), wanted,
                                  nullptr);
                const auto truth = wanted.floats();
                for (const auto& path : {std::optional<MoePath>{}, std::optional(MoePath::by_rows),
                                         std::optional(MoePath::tiles)}) {
                    force_paths({{}, path, {}});
                    EXPECT_LT(relative_error(run(x, ids, weights, *experts), truth), 6e-3)
                        << sizes.count << " experts, " << tokens << " tokens, routing "
                        << static_cast<int>(skew) << ", path " << (path ? static_cast<int>(*path) : -1);
                }
                force_paths({});
            }
    }
}

TEST(CudaMoe, ExpertIsOneOfThem) {
    const auto load = [](int64_t i) { return int4_expert(i, small); };
    const auto experts = prepare_experts(small.count, small.hidden, small.intermediate, load,
                                         ComputeType::bf16, stager(), allocate);
    const auto values = rounded_to_bf16(random_floats(9 * small.hidden, 6));
    const DeviceTensor x(DType::bf16, Shape{9, small.hidden}, values);
    for (const int32_t index : {0, 5, 12}) {
        Sizes single = small;
        single.top_k = 1;
        const auto wanted = exact_moe(values, std::vector<int32_t>(9, index), std::vector<float>(9, 1.0f),
                                      single, load, false);
        const DeviceTensor y(DType::bf16, x.view().shape());
        const Buffer scratch = allocate(expert_scratch_bytes(*experts, 9));
        expert(x, *experts, index, y, scratch_of(scratch), nullptr);
        EXPECT_LT(relative_error(y.floats(), wanted), 6e-3) << index;
    }
}

TEST(CudaMoe, AnErrorWhileLoadingComesThrough) {
    auto load = [](int64_t i) -> HostExpert {
        if (i == 3) fail(ErrorKind::corrupt_file, "expert 3 is broken");
        return int4_expert(i, small);
    };
    EXPECT_THROW(
        prepare_experts(8, small.hidden, small.intermediate, load, ComputeType::bf16, stager(), allocate),
        Error);
}

/// The definition of the choice, on the given logits.
void check_routing(const std::vector<float>& logits, int64_t experts, int64_t top_k,
                   const std::vector<int32_t>& ids, const std::vector<float>& weights) {
    const int64_t tokens = static_cast<int64_t>(logits.size()) / experts;
    for (int64_t t = 0; t < tokens; ++t) {
        const float* row = logits.data() + t * experts;
        std::vector<int32_t> order(static_cast<size_t>(experts));
        std::iota(order.begin(), order.end(), 0);
        std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) { return row[a] > row[b]; });
        double sum = 0;
        for (int64_t j = 0; j < top_k; ++j)
            sum += std::exp(static_cast<double>(row[order[j]] - row[order[0]]));
        for (int64_t j = 0; j < top_k; ++j) {
            const int32_t id = ids[static_cast<size_t>(t * top_k + j)];
            // Logits closer than rounding may change places; exact ties must not.
            ASSERT_NEAR(row[id], row[order[j]], 1e-4) << "token " << t << ", choice " << j;
            if (row[id] == row[order[j]]) {
                EXPECT_EQ(id, order[j]) << "token " << t << ", choice " << j;
            }
            EXPECT_NEAR(weights[static_cast<size_t>(t * top_k + j)],
                        std::exp(static_cast<double>(row[order[j]] - row[order[0]])) / sum, 2e-4);
        }
    }
}

TEST(CudaRouter, ChoosesByTheDefinition) {
    struct Size {
        int64_t experts, in, top_k;
    };
    for (const auto& [experts, in, top_k] :
         {Size{333, 4096, 10}, Size{256, 2048, 8}, Size{512, 256, 16}, Size{5, 40, 5}, Size{16, 64, 1}})
        for (const bool ties : {false, true})
            for (const int64_t tokens : token_counts()) {
                HostLinear host = dense_linear(experts, in, DType::bf16, 3);
                auto* w = std::get<DenseWeight>(host.weight).values.view.data<bfloat16>();
                for (int64_t n = 0; ties && n < experts; ++n)  // every second expert equals its neighbour
                    std::copy_n(w + n / 2 * 2 * in, in, w + n * in);
                const auto router = prepare_linear(host, ComputeType::bf16, stager(), allocate);
                const DeviceTensor x(DType::bf16, Shape{tokens, in}, random_floats(tokens * in, 8, 0.1));
                const DeviceTensor logits(DType::f32, Shape{tokens, experts});
                launch_plain_linear(x, router->matrix(), logits, nullptr);
                const DeviceTensor ids(DType::i32, Shape{tokens, top_k}),
                    weights(DType::f32, Shape{tokens, top_k});
                const Buffer scratch = allocate(route_scratch_bytes(*router, tokens));
                for (int repeat = 0; repeat < 2; ++repeat)
                    route(x, *router, top_k, {ids, weights}, scratch_of(scratch), nullptr);
                check_routing(logits.floats(), experts, top_k, ids.integers(), weights.floats());
                if (HasFatalFailure()) return;
            }
}

}  // namespace
}  // namespace sheaf::cuda
