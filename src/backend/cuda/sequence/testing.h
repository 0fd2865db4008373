// What the tests and benches of this folder share: batches in device memory, views with wide rows. Tests and
// benches only.
#pragma once

#include <numeric>

#include "backend/cuda/sequence/sequence.h"
#include "backend/cuda/testing/device_tensor.h"
#include "tensor/dtype.h"

namespace sheaf::cuda::testing {

struct SequenceRun {
    int32_t count = 1, context = 0;
};

/// Sequences of the given runs, one after the other; a run of count 0 has one row of padding. Slots and pages
/// are scattered; page p of sequence s is any page no one else has.
class TestBatch {
  public:
    TestBatch(std::vector<SequenceRun> sequences, int32_t page_size) : runs(std::move(sequences)) {
        int32_t widest = 1, total = 0;
        for (const SequenceRun& run : runs) {
            lengths.push_back(run.context + run.count);
            widest = std::max(widest, (lengths.back() + page_size - 1) / page_size);
            total += (lengths.back() + page_size - 1) / page_size;
            host.max_length = std::max(host.max_length, lengths.back());
            host.max_count = std::max(host.max_count, run.count);
        }
        pages = total + 3;
        stride = widest + 1;
        table.assign(runs.size() * static_cast<size_t>(stride), -1);
        int64_t next = 0;
        std::vector<int32_t> begins, counts, contexts, rows;
        for (size_t s = 0; s < runs.size(); ++s) {
            begins.push_back(static_cast<int32_t>(rows.size()));
            counts.push_back(runs[s].count);
            contexts.push_back(runs[s].context);
            slots.push_back(static_cast<int32_t>(slot_count() - 1 - static_cast<int64_t>(s)));
            rows.insert(rows.end(), static_cast<size_t>(std::max(1, runs[s].count)), static_cast<int32_t>(s));
            for (int32_t p = 0; p * page_size < lengths[s]; ++p)
                table[s * static_cast<size_t>(stride) + static_cast<size_t>(p)] =
                    static_cast<int32_t>(next++ * multiplier() % total);
        }
        begin = begins;
        tokens = static_cast<int32_t>(rows.size());
        const auto size = static_cast<int64_t>(runs.size());
        for (const auto* list : {&begins, &counts, &contexts, &slots})
            memory.emplace_back(Shape{size}, *list);
        memory.emplace_back(Shape{tokens}, rows);
        memory.emplace_back(Shape{size * stride}, table);
        host.sequences = static_cast<int32_t>(size);
        host.tokens = tokens;
        host.begin = at(0), host.count = at(1), host.context = at(2), host.slot = at(3);
        host.row_sequence = at(4), host.block_table = at(5);
        host.block_stride = stride;
    }
    int64_t slot_count() const { return static_cast<int64_t>(runs.size()) + 2; }
    int32_t page(size_t sequence, int32_t index) const {
        return table[sequence * static_cast<size_t>(stride) + static_cast<size_t>(index)];
    }

    std::vector<SequenceRun> runs;
    std::vector<int32_t> lengths, slots, table, begin;
    int32_t pages = 0, stride = 0, tokens = 0;
    DeviceBatch host;

  private:
    int64_t multiplier() const {  // coprime with the number of pages
        for (int64_t candidate = 7919;; ++candidate)
            if (std::gcd(candidate, static_cast<int64_t>(pages - 3)) == 1) return candidate;
    }
    const int32_t* at(size_t i) const { return memory[i].view().data<int32_t>(); }
    std::vector<DeviceTensor> memory;
};

inline std::vector<float> rounded_as(DType dtype, std::vector<float> values) {
    return dtype == DType::bf16 ? rounded_to_bf16(std::move(values)) : values;
}

/// Random activations as `dtype` keeps them, on both sides.
struct Activations {
    Activations(DType dtype, Shape shape, uint64_t key, double scale = 1.0)
        : values(rounded_as(dtype, random_floats(shape.elements(), key, scale))),
          device(dtype, shape, values) {}
    std::vector<float> values;
    DeviceTensor device;
};

/// The number of e4m3 nearest to x, even among two; 448 beyond it.
inline float rounded_to_e4m3(float x) {
    const float size = std::min(std::fabs(x), 448.0f);
    const float step = std::ldexp(1.0f, std::max(size > 0 ? std::ilogb(size) : -6, -6) - 3);
    return std::copysign(std::nearbyint(size / step) * step, x);
}
inline uint8_t e4m3_bits(float x) {
    static const std::vector<float> numbers = [] {
        std::vector<float> all;
        for (int bits = 0; bits < 0x7f; ++bits)
            all.push_back(float8_e4m3_to_float(static_cast<uint8_t>(bits)));
        return all;
    }();
    const auto at = std::lower_bound(numbers.begin(), numbers.end(), std::fabs(x)) - numbers.begin();
    return static_cast<uint8_t>(at | (std::signbit(x) ? 0x80 : 0));
}

/// Random numbers as pages of `dtype` keep them, on both sides.
struct PageNumbers {
    PageNumbers(DType dtype, Shape shape, uint64_t key, double scale) : device(dtype, shape) {
        values = random_floats(shape.elements(), key, scale);
        if (dtype != DType::f8_e4m3) {
            values = rounded_as(dtype, std::move(values));
            device = DeviceTensor(dtype, shape, values);
            return;
        }
        std::vector<uint8_t> bytes;
        for (float& x : values) x = rounded_to_e4m3(x), bytes.push_back(e4m3_bits(x));
        device.copy_in(bytes.data());
    }
    /// What the pages hold now.
    std::vector<float> floats() const {
        if (device.view().dtype() != DType::f8_e4m3) return device.floats();
        std::vector<uint8_t> bytes(values.size());
        check(cudaDeviceSynchronize(), "work before a copy");
        check(cudaMemcpy(bytes.data(), device.view().raw(), bytes.size(), cudaMemcpyDeviceToHost), "copy");
        std::vector<float> now;
        for (const uint8_t bits : bytes) now.push_back(float8_e4m3_to_float(bits));
        return now;
    }
    std::vector<float> values;
    DeviceTensor device;
};

/// Poisoned scratch of at least `bytes`.
inline DeviceTensor scratch_of(size_t bytes) {
    return DeviceTensor(DType::u8, Shape{static_cast<int64_t>(bytes)});
}

/// The runs that every operator is tried on: the sizes at which tiles begin and end, new and continued, and
/// padding between them.
inline std::vector<SequenceRun> all_runs() {
    return {{1, 0},   {1, 1},  {2, 0},    {3, 5},    {0, 0},   {7, 0},    {8, 61},   {9, 0},
            {16, 15}, {33, 0}, {64, 100}, {0, 0},    {127, 0}, {128, 1},  {129, 64}, {1, 300},
            {1, 15},  {1, 16}, {1, 511},  {1000, 0}, {5, 70},  {300, 129}};
}

}  // namespace sheaf::cuda::testing
