#include "weights/tensor_names.h"

#include <array>

namespace sheaf {
namespace {

struct Part {
    std::string_view begin;   // how the name goes on after all wrappers
    std::string_view prefix;  // what the original puts in front of it
};
constexpr std::array<Part, 6> parts{{{"layers.", "model.language_model."},
                                     {"embed_tokens.", "model.language_model."},
                                     {"norm.", "model.language_model."},
                                     {"visual.", "model."},
                                     {"lm_head.", ""},
                                     {"mtp.", ""}}};
constexpr std::array<std::string_view, 2> wrappers{"model.", "language_model."};

}  // namespace

std::string canonical_tensor_name(std::string_view name) {
    std::string_view rest = name;
    for (bool stripped = true; stripped;) {
        stripped = false;
        for (std::string_view wrapper : wrappers) {
            if (!rest.starts_with(wrapper)) continue;
            rest.remove_prefix(wrapper.size());
            stripped = true;
        }
    }
    for (const Part& part : parts)
        if (rest.starts_with(part.begin)) return std::string(part.prefix).append(rest);
    return std::string(name);
}

}  // namespace sheaf
