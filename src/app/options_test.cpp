#include "app/options.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <set>

#include "app/options_values.h"

namespace sheaf {
namespace {

using namespace option_values;

const char* nothing(const char*) {
    return nullptr;
}

Options parsed(const char* command, std::vector<std::string> words,
               const Environment& environment = nothing) {
    return parse_options(*find_command(command), words, environment);
}

TEST(OptionTables, AreSound) {
    for (const CommandSpec& command : command_specs()) {
        std::set<std::string> names;
        for (const OptionGroup& group : command.groups)
            for (const OptionSpec& option : group.options) {
                EXPECT_TRUE(names.insert(std::string(option.name)).second)
                    << command.name << " --" << option.name;
                for (const std::string_view alias : split(option.aliases, ' ')) {
                    EXPECT_TRUE(alias.empty() || names.insert(std::string(alias)).second) << alias;
                }
                EXPECT_FALSE(option.help.empty()) << option.name;
                EXPECT_EQ(option.value.empty(), option.kind == ValueKind::flag) << option.name;
                EXPECT_TRUE(option.standing == Standing::honoured || !option.reason.empty()) << option.name;
                EXPECT_EQ(option.name.find('_'), std::string_view::npos) << option.name;
            }
    }
}

TEST(OptionTables, DefaultsAreValid) {
    for (const CommandSpec& command : command_specs())
        EXPECT_NO_THROW(parse_options(command, std::vector<std::string>(command.min_operands, "x"), nothing))
            << command.name;
}

TEST(OptionParser, ReadsEveryKind) {
    const Options options = parsed(
        "serve", {"folder", "--port=1", "--max_model_len", "2k", "--api-key", "a", "b", "--api-key=c",
                  "--default-chat-template-kwargs", R"({"a": {"b": 1}})",
                  "--default-chat-template-kwargs.a.c", "two", "--default_chat_template_kwargs.d", "false",
                  "--kv-cache-memory-bytes", "1.5GiB", "--drain-timeout", "0.5", "--accept-any-model"});
    EXPECT_EQ(options.model(), "folder");
    EXPECT_EQ(options.integer("port"), 1);
    EXPECT_EQ(options.integer("max-model-len"), 2000);
    EXPECT_EQ(options.integer("kv-cache-memory-bytes"), int64_t{3} << 29);
    EXPECT_EQ(options.number("drain-timeout"), 0.5);
    EXPECT_TRUE(options.flag("accept-any-model"));
    EXPECT_EQ(options.texts("api-key"), (std::vector<std::string>{"a", "b", "c"}));
    EXPECT_EQ(options.json("default-chat-template-kwargs").dump(), R"({"a":{"b":1,"c":"two"},"d":false})");
    EXPECT_FALSE(options.given("host"));
    EXPECT_FALSE(options.has("pixels"));
}

TEST(OptionParser, TakesOperandsAnywhere) {
    EXPECT_EQ(parsed("serve", {"--port", "5", "folder"}).model(), "folder");
    EXPECT_EQ(parsed("serve", {"--accept-any-model", "folder"}).model(), "folder");
    EXPECT_EQ(parsed("serve", {"--", "--folder"}).model(), "--folder");
    EXPECT_EQ(parsed("serve", {"--model", "folder"}).model(), "folder");
    EXPECT_EQ(parsed("compare", {"--model", "a", "b"}).operands(), (std::vector<std::string>{"a", "b"}));
    EXPECT_EQ(parsed("serve", {"-tp", "2", "folder", "-q=awq"}).acknowledged().size(), 2u);
}

TEST(OptionParser, LayersOneOverAnother) {
    const Environment environment = [](const char* name) -> const char* {
        const std::string_view wanted(name);
        return wanted == "SHEAF_PORT" ? "7" : wanted == "VLLM_API_KEY" ? "k1 k2" : nullptr;
    };
    EXPECT_EQ(parsed("serve", {"x"}, environment).integer("port"), 7);
    EXPECT_EQ(parsed("serve", {"x", "--port", "8"}, environment).integer("port"), 8);
    EXPECT_EQ(parsed("serve", {"x"}, environment).texts("api-key"), (std::vector<std::string>{"k1", "k2"}));
    EXPECT_EQ(parsed("serve", {"x", "--api-key", "k3"}, environment).texts("api-key"),
              (std::vector<std::string>{"k3"}));
}

TEST(OptionParser, RefusesInOneLine) {
    const std::vector<std::vector<std::string>> wrong = {{},
                                                         {"a", "b"},
                                                         {"a", "--port"},
                                                         {"a", "--port", "-5"},
                                                         {"a", "--nothing"},
                                                         {"a", "--accept-any-model=perhaps"},
                                                         {"a", "--no-port"},
                                                         {"a", "--port.x", "1"},
                                                         {"a", "--default-chat-template-kwargs.", "1"},
                                                         {"a", "--default-chat-template-kwargs.a..b", "1"},
                                                         {"a", "--no-accept-any-model=1"},
                                                         {"a", "-", "b"},
                                                         {"a", "---"}};
    for (const auto& words : wrong) {
        try {
            parsed("serve", words);
            FAIL() << (words.empty() ? "nothing" : words.back());
        } catch (const UsageError& e) {
            EXPECT_EQ(std::string(e.what()).find('\n'), std::string::npos);
        }
    }
}

TEST(OptionValues, Sizes) {
    EXPECT_EQ(read_size("25.6k"), 25600);
    EXPECT_EQ(read_size("1K"), 1024);
    EXPECT_EQ(read_size("3G"), int64_t{3} << 30);
    EXPECT_EQ(read_size("auto"), -1);
    for (const char* wrong :
         {"", "k", "1.5K", "-3", "1kk", "0x10", "1 k", "99999999999999999999", "9999999T", "nan", "infk"})
        EXPECT_FALSE(read_size(wrong).has_value()) << wrong;
    EXPECT_EQ(read_bytes("500MB"), 500'000'000);
    EXPECT_EQ(read_bytes("1k"), 1024);
    for (const char* wrong : {"", "GB", "1.2.3G", "1XB", "-1"})
        EXPECT_FALSE(read_bytes(wrong).has_value()) << wrong;
}

TEST(OptionValues, NearestWord) {
    const std::vector<std::string_view> names = {"port", "host", "max-model-len", "max-num-seqs"};
    EXPECT_EQ(nearest_word("prot", names), "port");
    EXPECT_EQ(nearest_word("max-modle-len", names), "max-model-len");
    EXPECT_EQ(nearest_word("something-else", names), "");
    EXPECT_EQ(nearest_word(std::string(100000, 'a'), names), "");
}

}  // namespace
}  // namespace sheaf
