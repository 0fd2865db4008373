// Renders chat templates from standard input, for the comparison with Python's jinja2. A line is an object:
// `source` (or `template`, the number of an earlier source) and either `variables` or `messages`, `tools`,
// `add_generation_prompt` and `kwargs`; the answer is {"text"} or {"error"} on a line of its own.
#include <iostream>
#include <map>
#include <nlohmann/json.hpp>
#include <string>

#include "base/error.h"
#include "processor/chat_template.h"
#include "processor/jinja/template.h"

namespace {

using nlohmann::ordered_json;

std::string render(const ordered_json& line) {
    static std::map<std::string, sheaf::ChatTemplate> chats;
    static std::vector<std::string> sources;
    if (line.contains("source")) sources.push_back(line["source"].get<std::string>());
    const std::string& source =
        line.contains("template") ? sources.at(line["template"].get<std::size_t>()) : sources.back();
    if (line.contains("variables")) return sheaf::jinja::Template(source).render(line["variables"]);
    const auto found = chats.try_emplace(source, source).first;
    return found->second.render(line["messages"], line.value("tools", ordered_json()),
                                line.value("add_generation_prompt", false),
                                line.value("kwargs", ordered_json()));
}

}  // namespace

int main() {
    std::ios::sync_with_stdio(false);
    for (std::string text; std::getline(std::cin, text);) {
        ordered_json answer;
        try {
            answer["text"] = render(ordered_json::parse(text));
        } catch (const sheaf::Error& error) {
            answer["error"] = error.what();
        }
        std::cout << answer.dump() << "\n";
    }
    return 0;
}
