// A template, ready to be rendered any number of times and from any thread. Used by ChatTemplate. It must not
// know chats.
#pragma once

#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <unordered_map>

namespace sheaf::jinja {

struct Program;
class Value;
using Variables = std::unordered_map<std::string, Value>;

class Template {
  public:
    /// Errors: invalid_input, "chat template line N: ...".
    explicit Template(std::string_view source);
    ~Template();
    Template(const Template&) = delete;
    Template& operator=(const Template&) = delete;

    /// Renders with the members of `variables` (an object) as variables. Errors: invalid_input: "chat
    /// template line N: ...", or the text that the template raised.
    std::string render(const nlohmann::ordered_json& variables) const;

  private:
    std::unique_ptr<const Program> program_;
};

}  // namespace sheaf::jinja
