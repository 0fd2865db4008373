#include "serve/json_reader.h"

#include <unordered_set>
#include <utility>
#include <vector>

#include "base/error.h"

namespace sheaf {

namespace {

using Json = nlohmann::ordered_json;

// Containers are gathered as flat lists and built when they close, so that no finished value is ever copied
// (the ordered object of nlohmann copies its members when it grows) and no key is searched for.
class Builder : public nlohmann::json_sax<Json> {
  public:
    explicit Builder(const JsonLimits& limits) : limits_(limits) {}

    Json take() { return std::move(root_); }

    bool null() override { return add(nullptr); }
    bool boolean(bool value) override { return add(value); }
    bool number_integer(number_integer_t value) override { return add(value); }
    bool number_unsigned(number_unsigned_t value) override { return add(value); }
    bool number_float(number_float_t value, const string_t&) override { return add(value); }
    bool string(string_t& value) override { return add(std::move(value)); }
    bool binary(binary_t&) override { return false; }

    bool start_object(size_t) override { return open(true); }
    bool start_array(size_t) override { return open(false); }
    bool end_object() override { return close(); }
    bool end_array() override { return close(); }

    bool key(string_t& name) override {
        Frame& frame = frames_.back();
        if (!frame.seen.insert(name).second)
            fail(ErrorKind::invalid_input, "the JSON has the key \"{}\" twice in one object",
                 name.substr(0, 64));
        frame.keys.push_back(std::move(name));
        return true;
    }

    bool parse_error(size_t position, const std::string&, const nlohmann::detail::exception& error) override {
        // The library's text may quote the input at length; only its kind is passed on.
        if (error.id == 406)
            fail(ErrorKind::invalid_input, "the JSON has a number out of range at byte {}", position);
        fail(ErrorKind::invalid_input, "not valid JSON: syntax error at byte {}", position);
    }

  private:
    struct Frame {
        bool object;
        std::vector<std::string> keys;
        std::vector<Json> values;
        std::unordered_set<std::string> seen;
    };

    void count() {
        if (++nodes_ > limits_.nodes)
            fail(ErrorKind::invalid_input, "the JSON has more than {} values", limits_.nodes);
    }

    bool place(Json value) {
        if (frames_.empty())
            root_ = std::move(value);
        else
            frames_.back().values.push_back(std::move(value));
        return true;
    }

    template <class T>
    bool add(T&& value) {
        count();
        return place(Json(std::forward<T>(value)));
    }

    bool open(bool object) {
        count();
        if (frames_.size() >= limits_.depth)
            fail(ErrorKind::invalid_input, "the JSON is nested deeper than {} levels", limits_.depth);
        frames_.push_back({object, {}, {}, {}});
        return true;
    }

    bool close() {
        Frame frame = std::move(frames_.back());
        frames_.pop_back();
        if (!frame.object)
            return place(Json(Json::array_t(std::make_move_iterator(frame.values.begin()),
                                            std::make_move_iterator(frame.values.end()))));
        Json object = Json::object();
        auto& members = object.get_ref<Json::object_t&>();
        members.reserve(frame.keys.size());
        for (size_t i = 0; i < frame.keys.size(); ++i)
            members.emplace_back(std::move(frame.keys[i]), std::move(frame.values[i]));
        return place(std::move(object));
    }

    const JsonLimits& limits_;
    size_t nodes_ = 0;
    std::vector<Frame> frames_;
    Json root_;
};

}  // namespace

Json parse_json(std::string_view text, const JsonLimits& limits) {
    Builder builder(limits);
    if (!Json::sax_parse(text.begin(), text.end(), &builder))
        fail(ErrorKind::invalid_input, "not valid JSON");
    return builder.take();
}

std::string dump_json(const Json& value) {
    return value.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace sheaf
