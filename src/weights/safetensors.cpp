#include "weights/safetensors.h"

#include <simdjson.h>

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>
#include <unordered_set>

#include "weights/printable.h"

namespace sheaf {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t length_bytes = 8;  // the header's length stands in front of it, little endian
constexpr uint64_t max_header_bytes = 100'000'000;
constexpr size_t max_tensors = 1'000'000;
constexpr size_t max_name_bytes = 512;
constexpr size_t max_json_depth = 8;  // the format needs three levels
constexpr std::string_view metadata_key = "__metadata__";

template <class... Args>
[[noreturn]] void corrupt(fmt::format_string<Args...> format, Args&&... args) {
    fail(ErrorKind::corrupt_file, format, std::forward<Args>(args)...);
}

// The header's JSON, after every check that needs no JSON.
std::string_view header_text(std::span<const std::byte> bytes) {
    if (bytes.size() < length_bytes)
        corrupt("the file is {} bytes, too short for a safetensors header; download it again", bytes.size());
    uint64_t length = 0;
    std::memcpy(&length, bytes.data(), sizeof length);
    if (length > max_header_bytes)
        corrupt("the header's length is {} bytes, more than {}; this is no safetensors file", length,
                max_header_bytes);
    if (length > bytes.size() - length_bytes)
        corrupt("the file is {} bytes, but its header needs {}: it is cut short; download it again",
                bytes.size(), length_bytes + length);
    const std::string_view text(reinterpret_cast<const char*>(bytes.data()) + length_bytes, length);
    if (text.empty() || text.front() != '{') corrupt("the header does not begin with '{{'");
    return text;
}

std::map<std::string, std::string> parse_metadata(simdjson::dom::element value) {
    simdjson::dom::object object;
    if (value.get(object)) corrupt("{} is not an object", metadata_key);
    std::map<std::string, std::string> metadata;
    for (const auto& [key, text] : object) {
        std::string_view string;
        if (text.get(string)) corrupt("{}: '{}' is not a string", metadata_key, printable(key));
        if (!metadata.emplace(key, string).second)
            corrupt("{}: '{}' is there twice", metadata_key, printable(key));
    }
    return metadata;
}

Shape parse_shape(simdjson::dom::element value) {
    simdjson::dom::array array;
    if (value.get(array)) corrupt("shape is not a list");
    if (array.size() > Shape::max_rank) corrupt("rank {} is more than {}", array.size(), Shape::max_rank);
    std::array<int64_t, Shape::max_rank> sizes{};
    size_t rank = 0;
    for (auto element : array)
        if (element.get(sizes[rank++]) || sizes[rank - 1] < 0)
            corrupt("shape holds a number that is no size");
    return Shape(std::span<const int64_t>(sizes.data(), rank));
}

// Sizes of zero are left out of the first product: strides, too, must be representable.
uint64_t checked_bytes(DType dtype, const Shape& shape) {
    int64_t elements = 1;
    bool empty = false;
    for (int i = 0; i < shape.rank(); ++i) {
        empty = empty || shape[i] == 0;
        if (shape[i] != 0 && __builtin_mul_overflow(elements, shape[i], &elements))
            corrupt("shape {} overflows", shape.to_string());
    }
    int64_t bytes = 0;
    if (__builtin_mul_overflow(elements, static_cast<int64_t>(dtype_size(dtype)), &bytes))
        corrupt("shape {} overflows", shape.to_string());
    return empty ? 0 : static_cast<uint64_t>(bytes);
}

std::pair<uint64_t, uint64_t> parse_offsets(simdjson::dom::element value, uint64_t data_begin) {
    simdjson::dom::array array;
    if (value.get(array) || array.size() != 2) corrupt("data_offsets is not a list of two");
    std::array<uint64_t, 2> offsets{};
    size_t count = 0;
    for (auto element : array) {
        if (element.get(offsets[count])) corrupt("data_offsets holds a number that is no offset");
        if (__builtin_add_overflow(offsets[count], data_begin, &offsets[count]))
            corrupt("data_offsets overflow");
        ++count;
    }
    if (offsets[0] > offsets[1]) corrupt("data_offsets end before they begin");
    return {offsets[0], offsets[1]};
}

SafetensorsEntry parse_entry(std::string_view name, simdjson::dom::element value, uint64_t data_begin) {
    simdjson::dom::object object;
    if (value.get(object)) corrupt("its description is not an object");
    SafetensorsEntry entry{std::string(name), DType::f32, {}, 0, 0};
    int dtypes = 0, shapes = 0, offsets = 0;
    for (const auto& [key, field] : object) {
        if (key == "dtype") {
            std::string_view text;
            if (field.get(text)) corrupt("dtype is not a string");
            const auto dtype = dtype_from_name(text);
            if (!dtype) fail(ErrorKind::unsupported, "element type '{}' is not one we read", printable(text));
            entry.dtype = *dtype;
            ++dtypes;
        } else if (key == "shape") {
            entry.shape = parse_shape(field);
            ++shapes;
        } else if (key == "data_offsets") {
            std::tie(entry.begin, entry.end) = parse_offsets(field, data_begin);
            ++offsets;
        }
    }
    if (dtypes != 1 || shapes != 1 || offsets != 1)
        corrupt("dtype, shape and data_offsets must each be there once");
    const uint64_t bytes = checked_bytes(entry.dtype, entry.shape);
    if (bytes != entry.end - entry.begin)
        corrupt("{} {} needs {} bytes, but data_offsets give it {}", dtype_name(entry.dtype),
                entry.shape.to_string(), bytes, entry.end - entry.begin);
    return entry;
}

void check_name(std::string_view name) {
    if (name.empty()) corrupt("a tensor has no name");
    if (name.size() > max_name_bytes)
        corrupt("tensor '{}': the name is {} bytes, more than {}", printable(name), name.size(),
                max_name_bytes);
    if (std::any_of(name.begin(), name.end(), is_control_character))
        corrupt("tensor '{}': control character in the name", printable(name));
}

// The tensors, in order, must fill the data section exactly.
void check_layout(const std::vector<SafetensorsEntry>& entries, uint64_t data_begin, uint64_t file_size) {
    const uint64_t needed = entries.empty() ? data_begin : entries.back().end;
    if (file_size < needed)
        corrupt(
            "the file is {} bytes, but its header needs {} (tensor '{}'): it is cut short; download it again",
            file_size, needed, printable(entries.back().name));
    uint64_t position = data_begin;
    for (const auto& entry : entries) {
        if (entry.begin < position) corrupt("tensor '{}' overlaps the one before it", printable(entry.name));
        if (entry.begin > position)
            corrupt("{} bytes before tensor '{}' belong to no tensor", entry.begin - position,
                    printable(entry.name));
        position = entry.end;
    }
    if (file_size > position)
        corrupt("{} bytes after the last tensor belong to no tensor", file_size - position);
}

// Only for the message: ": tensor '...'" for the first description that is no valid JSON by itself, or "".
std::string blame(const simdjson::padded_string& text) {
    simdjson::ondemand::parser parser;
    simdjson::ondemand::document document;
    simdjson::ondemand::object object, value;
    simdjson::dom::parser checker;
    if (parser.iterate(text).get(document) || document.get_object().get(object)) return {};
    for (auto field : object) {
        std::string_view name, description;
        if (field.unescaped_key().get(name)) return {};
        if (field.value().get_object().get(value) || value.raw_json().get(description) ||
            checker.parse(description.data(), description.size()).error())
            return fmt::format(": tensor '{}'", printable(name));
    }
    return {};
}

}  // namespace

std::shared_ptr<const SafetensorsFile> SafetensorsFile::open(const fs::path& path) {
    std::shared_ptr<SafetensorsFile> file(new SafetensorsFile(path));
    try {
        file->parse();
    } catch (Error& error) {
        throw error.at(path.string());
    }
    return file;
}

void SafetensorsFile::parse() {
    const std::string_view text = header_text(file_.bytes());
    const uint64_t data_begin = length_bytes + text.size();
    const simdjson::padded_string padded(text.data(), text.size());
    simdjson::dom::parser parser;
    simdjson::dom::element document;
    simdjson::dom::object object;
    auto error = parser.allocate(text.size(), max_json_depth);
    if (!error) error = parser.parse(padded).get(document);
    if (error == simdjson::MEMALLOC)
        fail(ErrorKind::out_of_memory, "no memory for a header of {} bytes", text.size());
    if (error) corrupt("the header is not valid JSON ({}){}", simdjson::error_message(error), blame(padded));
    if (document.get(object)) corrupt("the header is not a JSON object");

    bool metadata_seen = false;
    for (const auto& [key, value] : object) {
        if (key == metadata_key) {
            if (std::exchange(metadata_seen, true)) corrupt("{} is there twice", metadata_key);
            metadata_ = parse_metadata(value);
            continue;
        }
        check_name(key);
        if (entries_.size() == max_tensors) corrupt("more than {} tensors", max_tensors);
        try {
            entries_.push_back(parse_entry(key, value, data_begin));
        } catch (Error& entry_error) {
            throw entry_error.at(fmt::format("tensor '{}'", printable(key)));
        }
    }
    std::unordered_set<std::string_view> names(entries_.size());
    for (const auto& entry : entries_)
        if (!names.insert(entry.name).second) corrupt("tensor '{}' is there twice", printable(entry.name));
    names.clear();  // sorting moves the strings
    std::sort(entries_.begin(), entries_.end(), [](const auto& a, const auto& b) {
        return std::tie(a.begin, a.end, a.name) < std::tie(b.begin, b.end, b.name);
    });
    check_layout(entries_, data_begin, size());
}

HostTensor SafetensorsFile::tensor(const SafetensorsEntry& entry) const {
    const std::byte* data = file_.bytes().data() + entry.begin;
    if (reinterpret_cast<uintptr_t>(data) % dtype_size(entry.dtype) == 0)  // a map is never written through
        return {Tensor(const_cast<std::byte*>(data), entry.dtype, entry.shape), shared_from_this()};
    HostTensor copy(entry.dtype, entry.shape);
    std::memcpy(copy.view.raw(), data, entry.end - entry.begin);
    return copy;
}

SafetensorsWriter::SafetensorsWriter(const fs::path& path, const std::vector<Declaration>& tensors,
                                     const std::map<std::string, std::string>& metadata)
    : file_(path) {
    std::vector<const Declaration*> order;
    for (const auto& tensor : tensors) order.push_back(&tensor);
    std::stable_sort(order.begin(), order.end(), [](const auto* a, const auto* b) {
        return dtype_size(a->dtype) > dtype_size(b->dtype);
    });
    const auto quoted = [](const std::string& text) { return nlohmann::json(text).dump(); };
    std::string header = "{";
    if (!metadata.empty()) header += fmt::format("\"{}\":{},", metadata_key, nlohmann::json(metadata).dump());
    uint64_t position = 0;
    for (const Declaration* tensor : order) {
        const uint64_t bytes = checked_bytes(tensor->dtype, tensor->shape);
        const auto [place, fresh] = places_.try_emplace(tensor->name);
        if (!fresh || tensor->name == metadata_key || tensor->name.empty() ||
            tensor->name.size() > max_name_bytes)
            fail(ErrorKind::invalid_input, "cannot write {}: tensor name '{}' is {}", path.string(),
                 printable(tensor->name), fresh ? "not allowed" : "there twice");
        std::string sizes;
        for (int i = 0; i < tensor->shape.rank(); ++i)
            sizes += fmt::format("{}{}", i ? "," : "", tensor->shape[i]);
        header +=
            fmt::format("{}:{{\"dtype\":\"{}\",\"shape\":[{}],\"data_offsets\":[{},{}]}},",
                        quoted(tensor->name), dtype_name(tensor->dtype), sizes, position, position + bytes);
        place->second.begin = position;
        place->second.bytes = bytes;
        position += bytes;
    }
    if (header.back() == ',') header.pop_back();
    header += '}';
    while (header.size() % 8 != 0) header += ' ';
    if (header.size() > max_header_bytes || tensors.size() > max_tensors)
        fail(ErrorKind::invalid_input, "cannot write {}: {} tensors are too many for one file", path.string(),
             tensors.size());
    const uint64_t length = header.size();
    file_.write(&length, sizeof length);
    file_.write(header);
    for (auto& [name, place] : places_) place.begin += length_bytes + length;
}

void SafetensorsWriter::write(const std::string& name, uint64_t offset, const void* data, size_t size) {
    const auto found = places_.find(name);
    SHEAF_CHECK(found != places_.end(), "{} was not declared", name);
    Place& place = found->second;
    SHEAF_CHECK(offset <= place.bytes && size <= place.bytes - offset, "{}: {} bytes at {} of {}", name, size,
                offset, place.bytes);
    file_.write_at(place.begin + offset, data, size);
    place.written += size;
}

void SafetensorsWriter::commit() {
    for (const auto& [name, place] : places_)
        SHEAF_CHECK(place.written == place.bytes, "{}: {} of {} bytes written", name, place.written.load(),
                    place.bytes);
    file_.commit();
}

}  // namespace sheaf
