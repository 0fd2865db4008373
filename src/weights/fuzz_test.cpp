// Bounded fuzzing that knows the structure: valid files and layers with a few typed fields replaced. Whatever
// comes, the only exception is sheaf::Error, and what is accepted can be read. Inputs follow from the round's
// number; a failure prints it.
#include <chrono>

#include "weights/checkpoint.h"
#include "weights/testing_int4.h"

namespace sheaf {
namespace {

using testing::MemorySource;
using testing::module;
using testing::TemporaryFolder;
using testing::Truth;
using testing::ZeroPoints;

constexpr auto time_limit = std::chrono::seconds(2);

class Dice {
  public:
    explicit Dice(uint64_t seed) : seed_(seed) {}
    size_t below(size_t limit) { return counter_random_bits(seed_, counter_++) % limit; }
    bool once_in(size_t count) { return below(count) == 0; }
    template <class T>
    const T& pick(const std::vector<T>& values) {
        return values[below(values.size())];
    }

  private:
    uint64_t seed_, counter_ = 0;
};

// Runs rounds until the time is up; `round` returns whether its input was accepted. Both outcomes must occur.
template <class Round>
void fuzz(const Round& round) {
    const auto end = std::chrono::steady_clock::now() + time_limit;
    size_t accepted = 0, refused = 0;
    for (uint64_t seed = 0; std::chrono::steady_clock::now() < end; ++seed) {
        try {
            round(Dice(seed));
            ++accepted;
        } catch (const Error& error) {
            ++refused;
            ASSERT_NE(std::string_view(error.what()), "");
            ASSERT_LT(std::strlen(error.what()), 4096u) << "round " << seed;
        } catch (const std::exception& error) {
            FAIL() << "round " << seed << ": " << error.what();
        }
    }
    std::printf("%zu accepted, %zu refused\n", accepted, refused);
    EXPECT_GT(accepted, 10u);
    EXPECT_GT(refused, 10u);
}

const std::vector<std::string> odd_values{"0",
                                          "1",
                                          "3",
                                          "7",
                                          "8",
                                          "64",
                                          "-1",
                                          "1.0",
                                          "1e3",
                                          "2147483648",
                                          "4294967296",
                                          "4611686018427387904",
                                          "9223372036854775807",
                                          "9223372036854775808",
                                          "18446744073709551615",
                                          "18446744073709551616",
                                          "null",
                                          "true",
                                          "\"\"",
                                          "\"F32\"",
                                          "\"I64\"",
                                          "\"BF16\"",
                                          "\"F4\"",
                                          "[]",
                                          "{}",
                                          "[0]",
                                          "[1,2]",
                                          "[[1]]",
                                          "{\"a\":1}",
                                          "\"\\u0000\"",
                                          "\"\xff\""};

// The fields of a header, as JSON text.
struct HeaderEntry {
    std::string name, dtype, begin, end;
    std::vector<std::string> shape;
};

std::string random_file(Dice& dice) {
    std::vector<HeaderEntry> entries{{"\"a\"", "\"F32\"", "0", "24", {"2", "3"}},
                                     {"\"b\"", "\"U8\"", "24", "27", {"3"}},
                                     {"\"c\"", "\"BF16\"", "27", "27", {"0", "5"}},
                                     {"\"d\"", "\"I64\"", "27", "35", {}}};
    size_t data_bytes = 35;
    for (size_t count = dice.below(4); count > 0; --count) {
        HeaderEntry& entry = entries[dice.below(entries.size())];
        switch (dice.below(8)) {
            case 0:
                entry.name = dice.pick(odd_values);
                break;
            case 1:
                entry.dtype = dice.pick(odd_values);
                break;
            case 2:
                entry.begin = dice.pick(odd_values);
                break;
            case 3:
                entry.end = dice.pick(odd_values);
                break;
            case 4:
                entry.shape.push_back(dice.pick(odd_values));
                break;
            case 5:
                if (!entry.shape.empty()) entry.shape[dice.below(entry.shape.size())] = dice.pick(odd_values);
                break;
            case 6:
                data_bytes = dice.below(64);
                break;
            default:
                std::swap(entry, entries[dice.below(entries.size())]);
                break;
        }
    }
    std::string header = "{";
    for (const HeaderEntry& entry : entries) {
        std::string shape;
        for (const auto& size : entry.shape) shape += (shape.empty() ? "" : ",") + size;
        header +=
            fmt::format("{}{}:{{\"dtype\":{},\"shape\":[{}],\"data_offsets\":[{},{}]}}",
                        header.size() > 1 ? "," : "", entry.name, entry.dtype, shape, entry.begin, entry.end);
    }
    header += "}";
    if (dice.once_in(8)) header[dice.below(header.size())] = static_cast<char>(dice.below(256));
    uint64_t length = header.size();
    if (dice.once_in(8)) length = dice.once_in(2) ? dice.below(2 * length) : counter_random_bits(length, 1);
    std::string file(8, '\0');
    std::memcpy(file.data(), &length, 8);
    file += header + std::string(data_bytes, 'x');
    if (dice.once_in(8)) file.resize(dice.below(file.size()));
    return file;
}

TEST(Fuzz, SafetensorsHeaders) {
    const TemporaryFolder folder;
    fuzz([&](Dice dice) {
        folder.write("a.safetensors", random_file(dice));
        const auto checkpoint = Checkpoint::open(folder.path());
        uint64_t bytes = 0;
        for (const auto& name : checkpoint->names()) {
            const HostTensor tensor = checkpoint->take(name);
            const auto* data = static_cast<const uint8_t*>(tensor.view.raw());
            for (size_t i = 0; i < tensor.view.bytes(); ++i) bytes += data[i] == 'x';
        }
        ASSERT_EQ(bytes, checkpoint->total_bytes());
    });
}

TEST(Fuzz, Index) {
    const TemporaryFolder folder;
    for (const char* file : {"a.safetensors", "b.safetensors"})
        SafetensorsWriter(folder / file, {{file, DType::u8, Shape{0}}}).commit();
    const std::vector<std::string> shards{
        "\"a.safetensors\"",  "\"b.safetensors\"", "\"c.safetensors\"",       "\"../a.safetensors\"",
        "\"/a.safetensors\"", "\"a.bin\"",         "\"a\\u0000.safetensors\""};
    fuzz([&](Dice dice) {
        const auto shard = [&] { return dice.once_in(4) ? dice.pick(odd_values) : dice.pick(shards); };
        std::string text =
            fmt::format(R"({{"metadata":{{}},"weight_map":{{"a.safetensors":{},"b.safetensors":{}}}}})",
                        dice.once_in(2) ? shards[0] : shard(), dice.once_in(2) ? shards[1] : shard());
        if (dice.once_in(6)) text[dice.below(text.size())] = static_cast<char>(dice.below(256));
        if (dice.once_in(6)) text.resize(dice.below(text.size()));
        folder.write("model.safetensors.index.json", text);
        const auto checkpoint = Checkpoint::open(folder.path());
        ASSERT_EQ(checkpoint->names().size(), 2u);
    });
}

const std::vector<DType> all_dtypes{DType::f32,     DType::bf16,    DType::f16, DType::f64,
                                    DType::f8_e4m3, DType::f8_e5m2, DType::i64, DType::i32,
                                    DType::i8,      DType::u32,     DType::u8};

void add_random(MemorySource& source, Dice& dice, const std::string& name, DType dtype, Shape shape) {
    std::vector<uint8_t> bytes(static_cast<size_t>(shape.elements()) * dtype_size(dtype));
    const size_t limit = dice.pick(std::vector<size_t>{1, 3, 256});
    for (auto& byte : bytes) byte = static_cast<uint8_t>(dice.below(limit));
    source.add(name, dtype, shape, bytes);
}

// One tensor goes, appears, or becomes another: type, shape or contents.
void mutate(MemorySource& source, Dice& dice, const Truth& truth) {
    const std::vector<std::string> extra{
        "g_idx",  "weight_g_idx",      "bias",         "weight", "weight_scale_inv",
        "qzeros", "weight_zero_point", "weight_shape", "scales", "qweight"};
    const auto names = source.names();
    const bool add = dice.once_in(3);
    const std::string name = add ? module + "." + dice.pick(extra) : dice.pick(names);
    const auto* info = source.find(name);
    const std::vector<int64_t> sizes{0,         1,       2, 3, truth.groups, truth.out / 8, truth.in / 8,
                                     truth.out, truth.in};
    std::array<int64_t, 3> shape{};
    size_t rank = dice.once_in(6) ? dice.below(4) : 2 - dice.below(2);
    for (size_t i = 0; i < rank; ++i) shape[i] = dice.pick(sizes);
    if (info && info->shape.rank() <= 3 && dice.once_in(2)) {  // keep the shape, or all sizes but one
        rank = static_cast<size_t>(info->shape.rank());
        for (size_t i = 0; i < rank; ++i) shape[i] = info->shape[static_cast<int>(i)];
        if (rank > 0 && dice.once_in(2)) shape[dice.below(rank)] = dice.pick(sizes);
    }
    const DType dtype = info && !dice.once_in(3) ? info->dtype : dice.pick(all_dtypes);
    if (!add && dice.once_in(6)) {
        source.remove(name);
    } else {
        add_random(source, dice, name, dtype, Shape(std::span<const int64_t>(shape.data(), rank)));
    }
}

TEST(Fuzz, WeightFormats) {
    fuzz([&](Dice dice) {
        const auto& size = dice.pick(testing::int4_sizes);
        const Truth truth(size.out, size.in, size.group_size, dice.once_in(2), dice.below(4));
        MemorySource source;
        switch (dice.below(4)) {
            case 0:
                testing::add_gptq(source, truth, 1);
                break;
            case 1:
                testing::add_awq(source, truth);
                break;
            case 2:
                testing::add_compressed_tensors(source, truth, ZeroPoints::packed);
                break;
            default:
                add_random(source, dice, module + ".weight", DType::f8_e4m3, Shape{truth.out, truth.in});
                add_random(source, dice, module + ".weight_scale_inv", DType::bf16,
                           Shape{1, (truth.in + 127) / 128});
        }
        for (size_t count = dice.below(3); count > 0; --count)
            if (!source.names().empty()) mutate(source, dice, truth);
        QuantizationHints hints = testing::hints_of(truth, dice.once_in(2), dice.once_in(2));
        hints.group_size =
            dice.pick(std::vector<int64_t>{truth.group_size, truth.group_size, -1, 0, 1, 7, 24, 128});
        int64_t out = truth.out, in = truth.in;
        if (dice.once_in(8)) out = dice.pick(std::vector<int64_t>{1, 8, truth.in, 1'000'000'000});
        if (dice.once_in(8)) in = dice.pick(std::vector<int64_t>{1, 8, truth.out, 1'000'000'000});
        const HostLinear linear = load_linear(source, module, out, in, hints);
        ASSERT_EQ(dequantize(linear).view.shape(), (Shape{out, in}));
        const int64_t middle = static_cast<int64_t>(dice.below(static_cast<size_t>(out)));
        ASSERT_EQ(dequantize(linear.output_slice(middle, out)).view.size(0), out - middle);
    });
}

}  // namespace
}  // namespace sheaf
