// Recognises the markup of reasoning and tool calls at one place of a text that may still grow. Used by
// OutputParser. It must not know what the markup means.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace sheaf::markup {

inline constexpr std::string_view kThink = "<think>";
inline constexpr std::string_view kEndThink = "</think>";
inline constexpr std::string_view kCall = "<tool_call>";
inline constexpr std::string_view kEndCall = "</tool_call>";
inline constexpr std::string_view kFunction = "<function=";
inline constexpr std::string_view kEndFunction = "</function>";
inline constexpr std::string_view kParameter = "<parameter=";
inline constexpr std::string_view kEndParameter = "</parameter>";

/// maybe: the text ends before it is decided, and more may come.
enum class Found : std::uint8_t { no, maybe, yes };

/// What stands at a place, and where it ends (for yes).
struct Match {
    Found found = Found::no;
    std::size_t end = 0;
    std::string name;

    explicit operator bool() const { return found == Found::yes; }
    bool maybe() const { return found == Found::maybe; }
};

/// A text from its start on; `final`: nothing more will come.
class View {
  public:
    View(std::string_view text, bool final) : text_(text), final_(final) {}

    /// Exactly `what` at `at`.
    Match literal(std::size_t at, std::string_view what) const;
    /// `open`, a name, `>`: as in <function=NAME>.
    Match named(std::size_t at, std::string_view open) const;
    /// <tool_call>, white space, <function=NAME>.
    Match call(std::size_t at) const;
    /// Behind at most 64 bytes of white space; found is maybe at the open end of the text.
    Match skip_space(std::size_t at) const;
    /// The end of a final text.
    bool ends(std::size_t at) const { return final_ && at >= text_.size(); }

  private:
    std::string_view text_;
    bool final_;
};

bool is_space(char c);

}  // namespace sheaf::markup
