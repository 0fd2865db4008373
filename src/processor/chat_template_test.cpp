#include "processor/chat_template.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "base/error.h"
#include "processor/jinja/template.h"

namespace sheaf {
namespace {

using nlohmann::ordered_json;
using testing::HasSubstr;
using testing::StartsWith;

const std::filesystem::path kGolden = std::filesystem::path(SHEAF_SOURCE_DIR) / "tests/golden/template";

std::string read(const std::filesystem::path& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
}

ChatTemplate real_template() {
    return ChatTemplate(read(kGolden / "qwen3.5-4b.chat_template.jinja"));
}

/// The text of the error that `run` ends with.
template <class Run>
std::string error_of(Run run, ErrorKind kind = ErrorKind::invalid_input) {
    try {
        run();
    } catch (const Error& error) {
        EXPECT_EQ(error.kind(), kind);
        return error.what();
    }
    return "no error";
}

/// A folder that lives as long as the test.
class Folder {
  public:
    Folder() : path_(std::filesystem::temp_directory_path() / fmt::format("sheaf_template_{}", counter_++)) {
        std::filesystem::remove_all(path_);
        std::filesystem::create_directories(path_);
    }
    ~Folder() { std::filesystem::remove_all(path_); }
    Folder(const Folder&) = delete;
    Folder& operator=(const Folder&) = delete;

    void write(const std::string& name, const std::string& text) const {
        std::ofstream(path_ / name) << text;
    }
    const std::filesystem::path& path() const { return path_; }

  private:
    static inline int counter_ = static_cast<int>(::getpid()) * 100;
    std::filesystem::path path_;
};

const ordered_json kHi = ordered_json::array({ordered_json{{"role", "user"}, {"content", "Hi"}}});

TEST(ChatTemplate, GoldenCases) {
    std::ifstream file(kGolden / "cases.jsonl");
    int count = 0;
    for (std::string line; std::getline(file, line); ++count) {
        const ordered_json golden = ordered_json::parse(line);
        ordered_json got;
        try {
            if (golden.contains("source")) {
                got["text"] =
                    jinja::Template(golden["source"].get<std::string>()).render(golden["variables"]);
            } else {
                const ChatTemplate chat(read(kGolden / golden["template"].get<std::string>()));
                got["text"] = chat.render(golden["messages"], golden["tools"],
                                          golden["add_generation_prompt"].get<bool>(), golden["kwargs"]);
            }
        } catch (const Error& error) {
            got["error"] = error.what();
        }
        if (golden.contains("text")) {
            EXPECT_EQ(got.value("text", got.dump()), golden["text"]) << line;
        } else if (golden.contains("raised")) {
            EXPECT_EQ(got.value("error", got.dump()), golden["raised"]) << line;
        } else {
            EXPECT_TRUE(got.contains("error")) << line;
        }
    }
    EXPECT_GE(count, 200);
}

TEST(ChatTemplate, RealTemplate) {
    const ChatTemplate chat = real_template();
    EXPECT_EQ(chat.render(kHi, nullptr, true, nullptr),
              "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n<think>\n");
    EXPECT_EQ(chat.render(kHi, nullptr, true, {{"enable_thinking", false}}),
              "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n");
    const auto conversation = ordered_json::parse(R"([{"role": "user", "content": "q"},
        {"role": "assistant", "content": "<think>\nabc\n</think>\n\nans"}, {"role": "user", "content": "q2"},
        {"role": "assistant", "content": "text", "tool_calls": [{"function": {"name": "f", "arguments": {"a": "1"}}}]},
        {"role": "tool", "content": "R"}, {"role": "assistant", "content": "fin"}])");
    EXPECT_EQ(chat.render(conversation, nullptr, false, nullptr),
              "<|im_start|>user\nq<|im_end|>\n<|im_start|>assistant\nans<|im_end|>\n<|im_start|>user\nq2<|im_"
              "end|>\n"
              "<|im_start|>assistant\n<think>\n\n</"
              "think>\n\ntext\n\n<tool_call>\n<function=f>\n<parameter=a>\n1\n</parameter>\n"
              "</function>\n</tool_call><|im_end|>\n<|im_start|>user\n<tool_response>\nR\n</"
              "tool_response><|im_end|>\n"
              "<|im_start|>assistant\n<think>\n\n</think>\n\nfin<|im_end|>\n");
}

TEST(ChatTemplate, WhatTheTemplateRaisesIsTheError) {
    const auto alone = ordered_json::parse(R"([{"role": "system", "content": "x"}])");
    EXPECT_EQ(error_of([&] { (void)real_template().render(alone, nullptr, true, nullptr); }),
              "No user query found in messages.");
    const ChatTemplate wordy("{{ raise_exception('é' * 150) }}");
    const std::string error = error_of([&] { (void)wordy.render(kHi, nullptr, true, nullptr); });
    EXPECT_EQ(error.size(), 200U);
    EXPECT_EQ(ChatTemplate("{{ messages[0].content }}").render(kHi, nullptr, false, nullptr), "Hi");
}

TEST(ChatTemplate, ErrorsNameTheLine) {
    EXPECT_EQ(error_of([] { ChatTemplate("a\n{% if %}"); }),
              "chat template line 2: expected an expression, got 'end of statement block'");
    EXPECT_EQ(error_of([] { ChatTemplate("\n\n{{ x|nope }}"); }),
              "chat template line 3: no filter named 'nope'");
    EXPECT_EQ(error_of([] { ChatTemplate("{{ x is nope }}"); }),
              "chat template line 1: no test named 'nope'");
    EXPECT_THAT(error_of([] { ChatTemplate("{% include 'x' %}"); }),
                StartsWith("chat template line 1: 'include' is not supported"));
    EXPECT_EQ(error_of([] { ChatTemplate("{% for x in y %}"); }),
              "chat template line 1: unexpected end of template; looking for 'else'");
    const ChatTemplate late("ok\n{{ messages[0].nope.more }}");
    EXPECT_EQ(error_of([&] { (void)late.render(kHi, nullptr, true, nullptr); }),
              "chat template line 2: 'dict object' has no attribute 'nope'");
    // Inside an `if`, Jinja minds an unknown filter only when it gets there.
    EXPECT_EQ(ChatTemplate("{% if false %}{{ x|nope }}{% endif %}").render(kHi, nullptr, true, nullptr), "");
}

TEST(ChatTemplate, ArgumentsAreVariablesButNoFields) {
    const ChatTemplate chat(
        "{{ a }}{{ tools is none }}{{ add_generation_prompt }}{{ documents }}{{ eos_token }}",
        {{"eos_token", "</s>"}});
    EXPECT_EQ(chat.render(kHi, nullptr, true, {{"a", 1}}), "1TrueTrueNone</s>");
    EXPECT_EQ(chat.render(kHi, nullptr, true, {{"eos_token", "<e>"}}), "TrueTrueNone<e>");
    EXPECT_THAT(error_of([&] {
                    (void)chat.render(kHi, nullptr, true, {{"messages", 1}});
                }),
                HasSubstr("'messages'"));
    EXPECT_EQ(error_of([&] { (void)chat.render("x", nullptr, true, nullptr); }), "messages must be a list");
    EXPECT_EQ(error_of([&] { (void)chat.render(kHi, 5, true, nullptr); }), "tools must be a list");
}

TEST(ChatTemplate, LoadsFromAFolder) {
    const Folder folder;
    EXPECT_THAT(error_of([&] { (void)ChatTemplate::load(folder.path()); }, ErrorKind::not_found),
                HasSubstr("no chat template"));
    folder.write(
        "tokenizer_config.json",
        R"({"eos_token": {"content": "<end>"}, "bos_token": null, "chat_template": "config{{ eos_token }}{{ bos_token }}"})");
    EXPECT_EQ(ChatTemplate::load(folder.path()).render(kHi, nullptr, true, nullptr), "config<end>");
    folder.write("chat_template.jinja", "file{{ eos_token }}");
    EXPECT_EQ(ChatTemplate::load(folder.path()).render(kHi, nullptr, true, nullptr), "file<end>");
    folder.write("chat_template.jinja", "\n{{");
    EXPECT_THAT(error_of([&] { (void)ChatTemplate::load(folder.path()); }, ErrorKind::corrupt_file),
                StartsWith("chat_template.jinja: chat template line 2"));
}

TEST(ChatTemplate, LoadsNamedTemplates) {
    const Folder folder;
    folder.write(
        "tokenizer_config.json",
        R"({"chat_template": [{"name": "tool_use", "template": "tools"}, {"name": "default", "template": "plain"}]})");
    const ChatTemplate chat = ChatTemplate::load(folder.path());
    EXPECT_EQ(chat.render(kHi, nullptr, true, nullptr), "plain");
    EXPECT_EQ(chat.render(kHi, ordered_json::array(), true, nullptr), "tools");
    folder.write("tokenizer_config.json", R"({"chat_template": [{"name": "other", "template": "x"}]})");
    EXPECT_THAT(error_of([&] { (void)ChatTemplate::load(folder.path()); }, ErrorKind::corrupt_file),
                HasSubstr("default"));
    folder.write("tokenizer_config.json", "[");
    EXPECT_THAT(error_of([&] { (void)ChatTemplate::load(folder.path()); }, ErrorKind::corrupt_file),
                HasSubstr("JSON"));
}

}  // namespace
}  // namespace sheaf
