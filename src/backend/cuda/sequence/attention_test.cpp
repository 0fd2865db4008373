// Attention over pages against its definition in double.
#include <gtest/gtest.h>

#include "backend/cuda/sequence/choices.h"
#include "backend/cuda/sequence/testing.h"

namespace sheaf::cuda {
namespace {

using namespace testing;

struct HeadShape {
    int64_t heads, kv_heads, dim;
};

/// Pages of random keys and values on both sides.
struct TestPages {
    TestPages(DType dtype, const TestBatch& batch, int64_t size, const HeadShape& shape)
        : page_size(size),
          width(shape.kv_heads * shape.dim),
          keys(dtype, Shape{batch.pages, size, shape.kv_heads, shape.dim}, 31, 1.5),
          values(dtype, Shape{batch.pages, size, shape.kv_heads, shape.dim}, 32, 1.0) {}
    KvLayer layer() const { return {keys.device.view(), values.device.view()}; }
    size_t row(const TestBatch& batch, size_t sequence, int64_t position) const {
        const int32_t page = batch.page(sequence, static_cast<int32_t>(position / page_size));
        return static_cast<size_t>((page * page_size + position % page_size) * width);
    }
    int64_t page_size, width;
    PageNumbers keys, values;
};

/// One row and head: softmax(q k^T / sqrt(dim)) v over positions [0, position].
std::vector<double> attend(const TestBatch& batch, const TestPages& pages, const std::vector<float>& keys,
                           const std::vector<float>& values, size_t sequence, int64_t position,
                           int64_t column, const std::vector<double>& query) {
    const size_t dim = query.size();
    std::vector<double> scores, result(dim, 0.0);
    double maximum = -1e300, sum = 0;
    for (int64_t p = 0; p <= position; ++p) {
        const float* k = keys.data() + pages.row(batch, sequence, p) + column;
        double score = 0;
        for (size_t d = 0; d < dim; ++d) score += query[d] * static_cast<double>(k[d]);
        scores.push_back(score / std::sqrt(static_cast<double>(dim)));
        maximum = std::max(maximum, scores.back());
    }
    for (int64_t p = 0; p <= position; ++p) {
        const double weight = std::exp(scores[static_cast<size_t>(p)] - maximum);
        const float* v = values.data() + pages.row(batch, sequence, p) + column;
        sum += weight;
        for (size_t d = 0; d < dim; ++d) result[d] += weight * static_cast<double>(v[d]);
    }
    for (double& x : result) x /= sum;
    return result;
}

/// The rows whose results are compared: all of a short run, some of a long one.
std::vector<int64_t> compared_rows(const SequenceRun& run) {
    std::vector<int64_t> rows;
    const int64_t step = run.count <= 33 ? 1 : run.count / 16;
    for (int64_t i = 0; i < run.count; i += step) rows.push_back(i);
    if (run.count > 0 && rows.back() != run.count - 1) rows.push_back(run.count - 1);
    return rows;
}

void expect_numbers(const TestBatch& batch, const std::vector<float>& got) {
    const size_t columns = got.size() / static_cast<size_t>(batch.tokens);
    for (size_t i = 0; i < got.size(); ++i)
        ASSERT_FALSE(std::isnan(got[i])) << i / columns << " " << i % columns;
    for (size_t s = 0; s < batch.runs.size(); ++s)
        for (size_t c = 0; batch.runs[s].count == 0 && c < columns; ++c)
            ASSERT_EQ(got[static_cast<size_t>(batch.begin[s]) * columns + c], 0.0f) << "padding " << s;
}

void expect_attention(DType dtype, const HeadShape& shape, const TestBatch& batch, int64_t page_size,
                      double bound, bool narrow_pages = false) {
    const TestPages pages(narrow_pages ? DType::f8_e4m3 : dtype, batch, page_size, shape);
    const int64_t columns = shape.heads * shape.dim;
    const Activations query(dtype, Shape{batch.tokens, columns}, 5, 2.0);
    const DeviceTensor result(dtype, Shape{batch.tokens, columns});
    const DeviceTensor scratch =
        scratch_of(attention_scratch_bytes(dtype, shape.heads, pages.layer(), batch.host));
    attention(query.device, pages.layer(), batch.host, shape.heads, result, scratch, nullptr);
    const auto got = result.floats();
    expect_numbers(batch, got);
    for (size_t s = 0; s < batch.runs.size(); ++s)
        for (const int64_t index : compared_rows(batch.runs[s]))
            for (int64_t head = index % 3; head < shape.heads; head += index % 3 + 1) {
                const auto at = static_cast<size_t>((batch.begin[s] + index) * columns + head * shape.dim);
                const std::vector<double> q(query.values.begin() + static_cast<int64_t>(at),
                                            query.values.begin() + static_cast<int64_t>(at) + shape.dim);
                const int64_t kv_head = head / (shape.heads / shape.kv_heads);
                const auto want = attend(batch, pages, pages.keys.values, pages.values.values, s,
                                         batch.runs[s].context + index, kv_head * shape.dim, q);
                const std::vector<float> mine(got.begin() + static_cast<int64_t>(at),
                                              got.begin() + static_cast<int64_t>(at) + shape.dim);
                ASSERT_LT(relative_error(mine, want), bound)
                    << shape.heads << "/" << shape.kv_heads << " of " << shape.dim << ", run of "
                    << batch.runs[s].count << " at " << batch.runs[s].context << ", row " << index
                    << ", head " << head;
            }
}

TEST(CudaAttention, EqualsItsDefinition) {
    const HeadShape shapes[] = {{4, 2, 256},  {32, 2, 256}, {16, 1, 40}, {6, 1, 24},
                                {20, 1, 128}, {3, 3, 64},   {2, 1, 8},   {16, 2, 256}};
    const int64_t page_sizes[] = {16, 64, 7, 128};
    size_t i = 0;
    for (const HeadShape& shape : shapes) {
        const int64_t page_size = page_sizes[i++ % 4];
        const TestBatch batch(all_runs(), static_cast<int32_t>(page_size));
        expect_attention(DType::bf16, shape, batch, page_size, 1.5e-2);
        expect_attention(DType::f32, shape, batch, page_size, 1e-5);
    }
}

TEST(CudaAttention, PureDecode) {
    std::vector<SequenceRun> runs;
    for (const int32_t context :
         {0, 1, 7, 15, 16, 63, 64, 65, 127, 255, 256, 257, 511, 512, 1000, 2047, 5000})
        runs.push_back({context == 15 ? 0 : 1, context});
    for (const HeadShape& shape : {HeadShape{32, 2, 256}, HeadShape{4, 2, 256}, HeadShape{20, 1, 64}})
        for (const int32_t page_size : {16, 64})
            expect_attention(DType::bf16, shape, TestBatch(runs, page_size), page_size, 1.5e-2);
}

TEST(CudaAttention, LongContext) {
    const TestBatch batch({{1, 70000}, {2, 33000}, {6, 20000}}, 64);
    expect_attention(DType::bf16, {32, 2, 256}, batch, 64, 1.5e-2);
}

void expect_same_alone(const std::vector<SequenceRun>& runs) {
    const HeadShape shape{32, 2, 256};
    const TestBatch all(runs, 16);
    const TestPages pages(DType::bf16, all, 16, shape);
    const Activations query(DType::bf16, Shape{all.tokens, shape.heads * shape.dim}, 5, 2.0);
    auto run = [&](const DeviceBatch& batch, int64_t first, int64_t rows) {
        const DeviceTensor result(DType::bf16, Shape{rows, shape.heads * shape.dim});
        const DeviceTensor scratch =
            scratch_of(attention_scratch_bytes(DType::bf16, shape.heads, pages.layer(), batch));
        attention(query.device.view().rows(first, first + rows), pages.layer(), batch, shape.heads, result,
                  scratch, nullptr);
        return result.floats();
    };
    const auto together = run(all.host, 0, all.tokens);
    for (size_t s = 0; s < runs.size(); ++s) {
        const int64_t rows = std::max(1, runs[s].count), columns = shape.heads * shape.dim;
        DeviceBatch one = all.host;
        const DeviceTensor zeros(Shape{rows}, std::vector<int32_t>(static_cast<size_t>(rows), 0));
        one.sequences = 1, one.tokens = static_cast<int32_t>(rows), one.max_count = runs[s].count;
        one.max_length = runs[s].context + runs[s].count;
        one.begin = zeros.view().data<int32_t>(), one.row_sequence = one.begin;
        one.count += s, one.context += s, one.slot += s,
            one.block_table += static_cast<int64_t>(s) * all.stride;
        const std::vector<float> part(together.begin() + all.begin[s] * columns,
                                      together.begin() + (all.begin[s] + rows) * columns);
        EXPECT_EQ(run(one, all.begin[s], rows), part) << s;
    }
}

TEST(CudaAttention, ASequenceDoesNotDependOnItsCompany) {
    expect_same_alone({{1, 900}, {3, 77}, {70, 12}, {1, 4000}, {0, 0}, {1, 5}});
    std::vector<SequenceRun> many;  // so many that their parts would be fewer
    for (int32_t i = 0; i < 300; ++i) many.push_back({1, i % 30 == 7 ? 4000 - i : i});
    force_choices(batch_invariant_choices);
    expect_same_alone(many);
    force_choices({});
}

/// Norm and rotation of one head in double.
std::vector<double> prepared(const float* x, const std::vector<float>& weight,
                             const std::vector<double>& angles) {
    const size_t dim = weight.size(), half = angles.size();
    double squares = 0;
    for (size_t d = 0; d < dim; ++d) squares += static_cast<double>(x[d]) * static_cast<double>(x[d]);
    const double factor = 1.0 / std::sqrt(squares / static_cast<double>(dim) + 1e-6);
    std::vector<double> y(dim);
    for (size_t d = 0; d < dim; ++d)
        y[d] = static_cast<double>(x[d]) * factor * (1.0 + static_cast<double>(weight[d]));
    for (size_t i = 0; i < half; ++i) {
        const double first = y[i], second = y[i + half];
        y[i] = first * std::cos(angles[i]) - second * std::sin(angles[i]);
        y[i + half] = second * std::cos(angles[i]) + first * std::sin(angles[i]);
    }
    return y;
}

void expect_gated_attention(DType dtype, const HeadShape& shape, const TestBatch& batch, int64_t page_size,
                            bool narrow_pages = false) {
    const int64_t dim = shape.dim, columns = shape.heads * dim, width = shape.kv_heads * dim,
                  tokens = batch.tokens;
    const int64_t all_columns = 2 * columns + 2 * width, half = std::min<int64_t>(dim / 2, 13);
    const TestPages pages(narrow_pages ? DType::f8_e4m3 : dtype, batch, page_size, shape);
    const Activations all(dtype, Shape{tokens, all_columns}, 41, 2.0);
    const Activations q_norm(DType::f32, Shape{dim}, 42), k_norm(DType::f32, Shape{dim}, 43),
        frequencies(DType::f32, Shape{half}, 44);
    std::vector<int32_t> axes, positions;
    for (int32_t i = 0; i < half; ++i) axes.push_back(i % 3);
    for (int32_t i = 0; i < 3 * tokens; ++i) positions.push_back(i * 31 % 4099);
    const DeviceTensor device_axes(Shape{half}, axes), device_positions(Shape{3, tokens}, positions);
    GatedAttentionInput input{all.device.view().columns(0, 2 * columns),
                              all.device.view().columns(2 * columns, 2 * columns + width),
                              all.device.view().columns(2 * columns + width, all_columns),
                              {q_norm.device.view(), 1e-6f},
                              {k_norm.device.view(), 1e-6f},
                              shape.heads,
                              shape.kv_heads,
                              dim};
    const DeviceTensor result(dtype, Shape{tokens, columns});
    const DeviceTensor scratch = scratch_of(gated_attention_scratch_bytes(input, pages.layer(), batch.host));
    const DeviceTensor arrivals(Shape{2048}, std::vector<int32_t>(2048, 0));
    gated_attention(input, device_positions, {frequencies.device.view(), device_axes.view(), 1.0f},
                    pages.layer(), batch.host, result, scratch, arrivals, nullptr);
    for (const int32_t left : arrivals.integers()) ASSERT_EQ(left, 0);
    const auto got = result.floats(), keys = pages.keys.floats(), values = pages.values.floats();
    expect_numbers(batch, got);
    const double bound = dtype == DType::bf16 ? 1.5e-2 : 1e-5;
    for (size_t s = 0; s < batch.runs.size(); ++s)
        for (const int64_t index : compared_rows(batch.runs[s])) {
            const int64_t row = batch.begin[s] + index, position = batch.runs[s].context + index;
            std::vector<double> angles;
            for (size_t i = 0; i < static_cast<size_t>(half); ++i)
                angles.push_back(static_cast<float>(positions[static_cast<size_t>(axes[i] * tokens + row)]) *
                                 frequencies.values[i]);
            const float* from = all.values.data() + row * all_columns;
            for (int64_t h = 0; h < shape.kv_heads; ++h) {
                const size_t at = pages.row(batch, s, position) + static_cast<size_t>(h * dim);
                const std::vector<float> k(keys.begin() + static_cast<int64_t>(at),
                                           keys.begin() + static_cast<int64_t>(at) + dim);
                EXPECT_LT(relative_error(k, prepared(from + 2 * columns + h * dim, k_norm.values, angles)),
                          narrow_pages           ? 3.5e-2
                          : dtype == DType::bf16 ? 4e-3
                                                 : 1e-6);
                for (int64_t d = 0; d < dim; ++d) {
                    const float value = from[2 * columns + width + h * dim + d];
                    ASSERT_EQ(values[at + static_cast<size_t>(d)],
                              narrow_pages ? rounded_to_e4m3(value) : value);
                }
            }
            for (int64_t h = index % 2; h<shape.heads; h += shape.heads> 16 ? 7 : 3) {
                const auto q = prepared(from + 2 * h * dim, q_norm.values, angles);
                auto want = attend(batch, pages, keys, values, s, position,
                                   h / (shape.heads / shape.kv_heads) * dim, q);
                for (int64_t d = 0; d < dim; ++d)
                    want[static_cast<size_t>(d)] /=
                        1.0 + std::exp(-static_cast<double>(from[(2 * h + 1) * dim + d]));
                const auto begin = got.begin() + row * columns + h * dim;
                ASSERT_LT(relative_error(std::vector<float>(begin, begin + dim), want), bound)
                    << "run of " << batch.runs[s].count << " at " << batch.runs[s].context << ", head " << h;
            }
        }
}

TEST(CudaAttention, GatedEqualsItsDefinition) {
    const std::vector<SequenceRun> runs = {{1, 0}, {20, 31}, {1, 300}, {0, 0}, {130, 5}, {3, 90}};
    for (const DType dtype : {DType::bf16, DType::f32})
        for (const HeadShape& shape : {HeadShape{4, 2, 256}, HeadShape{32, 2, 256}, HeadShape{6, 2, 32}})
            for (const int32_t page_size : {16, 48})
                expect_gated_attention(dtype, shape, TestBatch(runs, page_size), page_size);
}

/// Every cut of the keys that the one-launch step may be told to make, and the separate launches.
TEST(CudaAttention, GatedStepEqualsItsDefinition) {
    std::vector<SequenceRun> runs;
    for (const int32_t context :
         {0, 1, 2, 7, 15, 16, 17, 33, 62, 63, 64, 65, 127, 128, 129, 255, 511, 1000, 1023, 1024, 2047, 4100})
        runs.push_back({context == 33 ? 0 : 1, context});
    const std::vector<SequenceRun> few = {{1, 4095}}, two = {{1, 9000}, {1, 127}}, empty = {{0, 0}, {1, 5}};
    for (const HeadShape& shape : {HeadShape{32, 2, 256}, HeadShape{4, 1, 256}})
        for (const auto& batch : {runs, few, two, empty}) {
            expect_gated_attention(DType::bf16, shape, TestBatch(batch, 64), 64);
            for (const AttentionCut& cut :
                 {AttentionCut{8, 8, 64, 64}, AttentionCut{8, 64, 64, 64}, AttentionCut{8, 8, 8, 128},
                  AttentionCut{4, 4, 16, 256}, AttentionCut{2, 2, 8, 64}, AttentionCut{1, 1, 8, 64, 1024},
                  AttentionCut{1, 4, 8, 64}, AttentionCut{8, 8, 16, 64, 256}}) {
                SCOPED_TRACE(fmt::format("cluster {} parts {}", cut.cluster, cut.usual_parts));
                force_choices({false, false, cut});
                expect_gated_attention(DType::bf16, shape, TestBatch(batch, 16), 16);
            }
            force_choices(batch_invariant_choices);
            expect_gated_attention(DType::bf16, shape, TestBatch(batch, 64), 64);
            force_choices({});
        }
}

TEST(CudaAttention, PagesInE4m3EqualTheirDefinition) {
    size_t i = 0;
    for (const HeadShape& shape : {HeadShape{4, 2, 256}, HeadShape{32, 2, 256}, HeadShape{6, 1, 48},
                                   HeadShape{20, 1, 128}, HeadShape{3, 3, 64}}) {
        const int32_t page_size = i++ % 2 ? 16 : 7;
        const TestBatch batch(all_runs(), page_size);
        expect_attention(DType::bf16, shape, batch, page_size, 1.5e-2, true);
        expect_attention(DType::f32, shape, batch, page_size, 1e-5, true);
    }
    std::vector<SequenceRun> runs;
    for (const int32_t context : {0, 1, 15, 16, 63, 64, 127, 300, 1023, 3000})
        runs.push_back({context == 15 ? 0 : 1, context});
    const std::vector<SequenceRun> mixed = {{1, 0}, {20, 31}, {1, 300}, {0, 0}, {130, 5}, {3, 90}};
    for (const DType dtype : {DType::bf16, DType::f32})
        expect_gated_attention(dtype, {32, 2, 256}, TestBatch(mixed, 16), 16, true);
    for (const AttentionCut& cut :
         {AttentionCut{8, 8, 8, 64}, AttentionCut{4, 16, 16, 64}, AttentionCut{1, 1, 8, 64}}) {
        force_choices({false, false, cut});
        expect_gated_attention(DType::bf16, {32, 2, 256}, TestBatch(runs, 64), 64, true);
    }
    force_choices({});
}

}  // namespace
}  // namespace sheaf::cuda
