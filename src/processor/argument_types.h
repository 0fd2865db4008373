// The arguments of a tool call as the tool's JSON schema types them. The model writes every value as bare
// text; this says which JSON value that text is. Used by OutputParser. It must not know the markup around the
// values.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace sheaf {

/// The schema of one tool's parameters (an object schema; null or anything else: no schema is known).
class ToolSchema {
  public:
    ToolSchema() = default;
    explicit ToolSchema(nlohmann::ordered_json parameters);

    /// Whether `name` may be a parameter: a declared one; any, where the schema declares none or says that it
    /// takes others.
    bool accepts(std::string_view name) const;

    /// Whether the value can only be text, so that it need not be seen whole: declared as nothing but a
    /// string, or not declared at all.
    bool is_text(std::string_view name) const;

    /// Whether the value can be text at all.
    bool may_be_text(std::string_view name) const;

    /// The JSON text of a value written as `text`. Types are tried in the order null, integer, number,
    /// boolean, object, array, string; through type lists, anyOf, oneOf, allOf, enum, const, nullable and
    /// $ref, and into the members of objects and arrays. Python's None, True, False and literals count. What
    /// fits nothing stays a string; `fits` is then false. Never loses a digit.
    std::string value(std::string_view name, std::string_view text, bool& fits) const;

  private:
    const nlohmann::ordered_json* property(std::string_view name) const;

    nlohmann::ordered_json root_;
};

/// JSON, or what Python calls a literal (single quotes, True, None, tuples, commas at the end). Discarded:
/// neither.
nlohmann::ordered_json parse_literal(std::string_view text);

/// `text` as the inside of a JSON string, quotes not included. `text` is valid UTF-8.
std::string json_escaped(std::string_view text);

}  // namespace sheaf
