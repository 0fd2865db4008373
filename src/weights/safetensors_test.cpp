#include "weights/safetensors.h"

#include <random>

#include "weights/testing.h"

namespace sheaf {
namespace {

using testing::expect_error;
using testing::TemporaryFolder;

std::string with_length(std::string_view header, uint64_t length, size_t data_bytes) {
    std::string file(8, '\0');
    std::memcpy(file.data(), &length, 8);
    return file.append(header).append(data_bytes, 'x');
}

std::string file_of(std::string_view header, size_t data_bytes) {
    return with_length(header, header.size(), data_bytes);
}

TEST(Safetensors, RoundTrip) {
    const TemporaryFolder folder;
    const std::vector<float> floats{1.5f, -2, 3, 0.25f, 5, 6};
    const std::vector<uint8_t> bytes{1, 2, 3};
    const std::vector<int64_t> wide{-7};
    SafetensorsWriter writer(folder / "a.safetensors",
                             {{"bytes", DType::u8, Shape{3}},
                              {"floats \"quoted\" \xc3\xa9", DType::f32, Shape{2, 3}},
                              {"nothing", DType::bf16, Shape{0, 4}},
                              {"scalar", DType::i64, Shape{}}},
                             {{"format", "pt"}, {"note", "line\nbreak"}});
    writer.write("bytes", 0, bytes.data(), 3);
    writer.write("floats \"quoted\" \xc3\xa9", 8, floats.data() + 2, 16);
    writer.write("floats \"quoted\" \xc3\xa9", 0, floats.data(), 8);
    writer.write("scalar", 0, wide.data(), 8);
    EXPECT_FALSE(std::filesystem::exists(folder / "a.safetensors"));
    writer.commit();

    const auto file = SafetensorsFile::open(folder / "a.safetensors");
    EXPECT_EQ(file->metadata(),
              (std::map<std::string, std::string>{{"format", "pt"}, {"note", "line\nbreak"}}));
    EXPECT_EQ(file->size(), std::filesystem::file_size(folder / "a.safetensors"));
    std::map<std::string, HostTensor> tensors;
    for (const auto& entry : file->entries()) tensors[entry.name] = file->tensor(entry);
    ASSERT_EQ(tensors.size(), 4u);
    const Tensor matrix = tensors.at("floats \"quoted\" \xc3\xa9").view;
    EXPECT_EQ(matrix.shape(), (Shape{2, 3}));
    EXPECT_EQ(std::vector<float>(matrix.data<float>(), matrix.data<float>() + 6), floats);
    EXPECT_EQ(std::memcmp(tensors.at("bytes").view.raw(), bytes.data(), 3), 0);
    EXPECT_EQ(tensors.at("nothing").view.shape(), (Shape{0, 4}));
    EXPECT_EQ(tensors.at("scalar").view.shape(), Shape{});
    EXPECT_EQ(tensors.at("scalar").view.data<int64_t>()[0], -7);
}

TEST(Safetensors, TensorKeepsTheMapAlive) {
    const TemporaryFolder folder;
    folder.write("a.safetensors", file_of(R"({"a":{"dtype":"U8","shape":[3],"data_offsets":[0,3]}})", 3));
    HostTensor tensor;
    {
        const auto file = SafetensorsFile::open(folder / "a.safetensors");
        tensor = file->tensor(file->entries().front());
    }
    EXPECT_EQ(std::string(static_cast<const char*>(tensor.view.raw()), 3), "xxx");
}

TEST(Safetensors, UnalignedTensorsAreCopied) {
    const TemporaryFolder folder;
    std::string header =
        R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"b":{"dtype":"F32","shape":[2],"data_offsets":[1,9]}})";
    header.resize((header.size() + 7) / 8 * 8, ' ');
    std::string bytes = file_of(header, 9);
    const std::vector<float> values{1.25f, -3};
    std::memcpy(bytes.data() + bytes.size() - 8, values.data(), 8);
    folder.write("a.safetensors", bytes);
    const auto file = SafetensorsFile::open(folder / "a.safetensors");
    const HostTensor tensor = file->tensor(file->entries().at(1));
    EXPECT_EQ(reinterpret_cast<uintptr_t>(tensor.view.raw()) % 4, 0u);
    EXPECT_EQ(tensor.view.data<float>()[0], 1.25f);
    EXPECT_EQ(tensor.view.data<float>()[1], -3);
}

TEST(Safetensors, EntriesComeInTheOrderOfTheFile) {
    const TemporaryFolder folder;
    folder.write("a.safetensors", file_of(R"({"z":{"dtype":"U8","shape":[2],"data_offsets":[1,3]},
                             "a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},
                             "e":{"dtype":"U8","shape":[0],"data_offsets":[1,1]}})",
                                          3));
    const auto file = SafetensorsFile::open(folder / "a.safetensors");
    ASSERT_EQ(file->entries().size(), 3u);
    EXPECT_EQ(file->entries()[0].name, "a");
    EXPECT_EQ(file->entries()[1].name, "e");
    EXPECT_EQ(file->entries()[2].name, "z");
}

struct Malformed {
    std::string what;
    std::string bytes;
    ErrorKind kind;
    std::string message;
};

void PrintTo(const Malformed& malformed, std::ostream* out) {
    *out << malformed.what;
}

class MalformedSafetensors : public ::testing::TestWithParam<Malformed> {};

TEST_P(MalformedSafetensors, IsRefused) {
    const TemporaryFolder folder;
    folder.write("bad.safetensors", GetParam().bytes);
    expect_error(GetParam().kind, {"bad.safetensors", GetParam().message},
                 [&] { SafetensorsFile::open(folder / "bad.safetensors"); });
}

std::string one(std::string_view dtype, std::string_view shape, std::string_view offsets, size_t data_bytes) {
    return file_of(
        fmt::format(R"({{"t":{{"dtype":{},"shape":{},"data_offsets":{}}}}})", dtype, shape, offsets),
        data_bytes);
}

std::vector<Malformed> malformed_headers() {
    const auto corrupt = ErrorKind::corrupt_file;
    const std::string good = R"({"t":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}})";
    return {
        {"empty file", "", corrupt, "too short"},
        {"seven bytes", std::string(7, '\0'), corrupt, "too short"},
        {"length beyond the file", with_length(good, good.size() + 5, 4), corrupt, "cut short"},
        {"length beyond the limit", with_length(good, 100'000'001, 4), corrupt, "more than 100000000"},
        {"length that overflows", with_length(good, ~uint64_t{0}, 4), corrupt, "more than 100000000"},
        {"length that overflows with the eight", with_length(good, ~uint64_t{0} - 7, 4), corrupt,
         "more than"},
        {"no header", with_length("", 0, 0), corrupt, "begin"},
        {"leading space", file_of(" " + good, 4), corrupt, "begin"},
        {"not JSON", file_of("{\"t\":", 4), corrupt, "not valid JSON"},
        {"text after the JSON", file_of(good + "x", 4), corrupt, "not valid JSON"},
        {"invalid UTF-8", file_of("{\"\xff\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]}}", 4),
         corrupt, "not valid JSON"},
        {"too deep", file_of("{\"t\":" + std::string(5000, '[') + std::string(5000, ']') + "}", 0), corrupt,
         "not valid JSON"},
        {"a pickle", std::string("\x80\x02}q\x00.", 6) + std::string(64, 'k'), corrupt, "more than"},
        {"description is no object", file_of(R"({"t":5})", 0), corrupt, "not an object"},
    };
}

std::vector<Malformed> malformed_descriptions() {
    const auto corrupt = ErrorKind::corrupt_file;
    const std::string max = "9223372036854775807", wide = "18446744073709551615";
    return {
        {"no dtype", file_of(R"({"t":{"shape":[4],"data_offsets":[0,4]}})", 4), corrupt, "once"},
        {"no shape", file_of(R"({"t":{"dtype":"U8","data_offsets":[0,4]}})", 4), corrupt, "once"},
        {"no offsets", file_of(R"({"t":{"dtype":"U8","shape":[4]}})", 4), corrupt, "once"},
        {"shape twice", file_of(R"({"t":{"dtype":"U8","shape":[4],"shape":[4],"data_offsets":[0,4]}})", 4),
         corrupt, "once"},
        {"unknown dtype", one("\"Q4_0\"", "[4]", "[0,4]", 4), ErrorKind::unsupported, "'Q4_0'"},
        {"dtype is a number", one("7", "[4]", "[0,4]", 4), corrupt, "dtype is not a string"},
        {"shape is a number", one("\"U8\"", "4", "[0,4]", 4), corrupt, "shape is not a list"},
        {"negative size", one("\"U8\"", "[-4]", "[0,4]", 4), corrupt, "no size"},
        {"fractional size", one("\"U8\"", "[4.0]", "[0,4]", 4), corrupt, "no size"},
        {"size beyond int64", one("\"U8\"", "[" + wide + "]", "[0,4]", 4), corrupt, "no size"},
        {"rank nine", one("\"U8\"", "[1,1,1,1,1,1,1,1,4]", "[0,4]", 4), corrupt, "rank 9"},
        {"shape overflows", one("\"U8\"", "[" + max + ",3]", "[0,4]", 4), corrupt, "overflows"},
        {"shape wraps to the right size", one("\"U8\"", "[4294967296,4294967296]", "[0,0]", 0), corrupt,
         "overflows"},
        {"bytes wrap to the right size", one("\"F32\"", "[4611686018427387905]", "[0,4]", 4), corrupt,
         "overflows"},
        {"strides of an empty tensor overflow", one("\"U8\"", "[0," + max + "," + max + "]", "[0,0]", 0),
         corrupt, "overflows"},
        {"too few bytes", one("\"F32\"", "[4]", "[0,8]", 8), corrupt, "needs 16 bytes"},
        {"too many bytes", one("\"U8\"", "[4]", "[0,5]", 5), corrupt, "needs 4 bytes"},
        {"bytes for an empty tensor", one("\"U8\"", "[0]", "[0,4]", 4), corrupt, "needs 0 bytes"},
    };
}

std::vector<Malformed> malformed_layouts() {
    const auto corrupt = ErrorKind::corrupt_file;
    const std::string a = R"("a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]})";
    const std::string wide = "18446744073709551615";
    return {
        {"offsets are no list", one("\"U8\"", "[4]", "4", 4), corrupt, "list of two"},
        {"three offsets", one("\"U8\"", "[4]", "[0,4,8]", 4), corrupt, "list of two"},
        {"negative offset", one("\"U8\"", "[4]", "[-4,0]", 4), corrupt, "no offset"},
        {"end before begin", one("\"U8\"", "[4]", "[4,0]", 4), corrupt, "before they begin"},
        {"offsets that wrap", one("\"U8\"", "[4]", "[18446744073709551612," + wide + "]", 4), corrupt,
         "overflow"},
        {"offsets beyond 64 bits", one("\"U8\"", "[4]", "[0,18446744073709551616]", 4), corrupt,
         "tensor 't'"},
        {"data cut short", one("\"U8\"", "[4]", "[0,4]", 3), corrupt, "cut short"},
        {"bytes at the end", one("\"U8\"", "[4]", "[0,4]", 5), corrupt, "1 bytes after the last tensor"},
        {"bytes without tensors", file_of("{}", 1), corrupt, "after the last tensor"},
        {"hole in front", one("\"U8\"", "[4]", "[1,5]", 5), corrupt, "belong to no tensor"},
        {"hole between", file_of("{" + a + R"(,"b":{"dtype":"U8","shape":[2],"data_offsets":[3,5]}})", 5),
         corrupt, "1 bytes before tensor 'b'"},
        {"overlap", file_of("{" + a + R"(,"b":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}})", 3), corrupt,
         "'b' overlaps"},
        {"one inside the other",
         file_of("{" + a + R"(,"b":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})", 2), corrupt,
         "overlaps"},
        {"the same place twice",
         file_of("{" + a + R"(,"b":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}})", 2), corrupt,
         "overlaps"},
        {"a name twice", file_of("{" + a + R"(,"a":{"dtype":"U8","shape":[2],"data_offsets":[2,4]}})", 4),
         corrupt, "'a' is there twice"},
        {"a name twice by an escape",
         file_of("{" + a + R"(,"\u0061":{"dtype":"U8","shape":[2],"data_offsets":[2,4]}})", 4), corrupt,
         "twice"},
        {"empty name", file_of(R"({"":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}})", 4), corrupt,
         "no name"},
        {"long name",
         file_of("{\"" + std::string(513, 'n') + R"(":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}})", 4),
         corrupt, "513 bytes"},
        {"control character in a name",
         file_of(R"({"a\u001b[2J":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}})", 4), corrupt, "'a?[2J'"},
        {"metadata is no object", file_of(R"({"__metadata__":3})", 0), corrupt,
         "__metadata__ is not an object"},
        {"metadata is no string", file_of(R"({"__metadata__":{"k":3}})", 0), corrupt, "'k' is not a string"},
        {"metadata twice", file_of(R"({"__metadata__":{},"__metadata__":{}})", 0), corrupt, "twice"},
        {"a metadata key twice", file_of(R"({"__metadata__":{"k":"a","k":"b"}})", 0), corrupt, "twice"},
    };
}

std::vector<Malformed> malformed_files() {
    std::vector<Malformed> all = malformed_headers();
    for (const auto& more : {malformed_descriptions(), malformed_layouts()})
        all.insert(all.end(), more.begin(), more.end());
    return all;
}

INSTANTIATE_TEST_SUITE_P(Cases, MalformedSafetensors, ::testing::ValuesIn(malformed_files()),
                         [](const auto& parameter) {
                             std::string name = parameter.param.what;
                             for (char& c : name)
                                 if (!std::isalnum(static_cast<unsigned char>(c))) c = '_';
                             return name;
                         });

TEST(Safetensors, LongestNameAndRankAreAccepted) {
    const TemporaryFolder folder;
    folder.write("a.safetensors",
                 file_of("{\"" + std::string(512, 'n') +
                             R"(":{"dtype":"U8","shape":[1,1,1,1,1,1,1,4],"data_offsets":[0,4]}}  )",
                         4));
    EXPECT_EQ(SafetensorsFile::open(folder / "a.safetensors")->entries().front().shape.rank(), 8);
}

TEST(Safetensors, TooManyTensors) {
    const TemporaryFolder folder;
    std::string header = "{";
    for (int i = 0; i <= 1'000'000; ++i)
        header += fmt::format("{}\"{}\":{{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}}",
                              i ? "," : "", i);
    folder.write("a.safetensors", file_of(header + "}", 0));
    expect_error(ErrorKind::corrupt_file, {"more than 1000000 tensors"},
                 [&] { SafetensorsFile::open(folder / "a.safetensors"); });
}

TEST(Safetensors, MissingFile) {
    expect_error(ErrorKind::not_found, {"/nowhere/a.safetensors"},
                 [] { SafetensorsFile::open("/nowhere/a.safetensors"); });
}

TEST(SafetensorsWriter, RefusesBadNames) {
    const TemporaryFolder folder;
    using Declarations = std::vector<SafetensorsWriter::Declaration>;
    const auto write = [&](const Declarations& tensors) {
        SafetensorsWriter(folder / "a.safetensors", tensors);
    };
    const SafetensorsWriter::Declaration good{"a", DType::u8, Shape{1}};
    expect_error(ErrorKind::invalid_input, {"'a'", "twice"}, [&] { write({good, good}); });
    for (const std::string& name : {std::string("__metadata__"), std::string(), std::string(513, 'n')})
        expect_error(ErrorKind::invalid_input, {"not allowed"}, [&] {
            write({{name, DType::u8, Shape{1}}});
        });
    EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

TEST(SafetensorsWriter, IncompleteFilesDoNotAppear) {
    const TemporaryFolder folder;
    {
        SafetensorsWriter writer(folder / "a.safetensors", {{"a", DType::u8, Shape{4}}});
        writer.write("a", 0, "xyz", 3);
        EXPECT_THROW(writer.write("a", 2, "xyz", 3), InternalError);
        EXPECT_THROW(writer.write("b", 0, "x", 1), InternalError);
        EXPECT_THROW(writer.commit(), InternalError);
    }
    EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

}  // namespace
}  // namespace sheaf
