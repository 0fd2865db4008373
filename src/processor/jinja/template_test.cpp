#include "processor/jinja/template.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <random>
#include <thread>

#include "base/error.h"
#include "processor/jinja/budget.h"
#include "processor/jinja/unicode.h"

namespace sheaf::jinja {
namespace {

using nlohmann::ordered_json;
using testing::HasSubstr;

std::string render(const std::string& source, const ordered_json& variables = ordered_json::object()) {
    return Template(source).render(variables);
}

std::string error_of(const std::string& source, const ordered_json& variables = ordered_json::object()) {
    try {
        return "rendered: " + render(source, variables).substr(0, 100);
    } catch (const Error& error) {
        return error.what();
    }
}

std::string repeated(const std::string& unit, int count) {
    std::string out;
    for (int i = 0; i < count; ++i) out += unit;
    return out;
}

// What jinja2 does is checked against jinja2 itself (tests/template, tests/golden/template); here is what it
// does not have.

TEST(Template, StepsAreLimited) {
    EXPECT_THAT(error_of("{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}"),
                HasSubstr("steps"));
    EXPECT_THAT(
        error_of(
            "{% set ns = namespace(a=[]) %}{% for i in range(100) %}{% set ns.a = [ns.a, ns.a] %}{% endfor %}"
            "{% set nb = namespace(a=[]) %}{% for i in range(100) %}{% set nb.a = [nb.a, nb.a] %}{% endfor %}"
            "{{ ns.a == nb.a }}"),
        HasSubstr("steps"));
}

TEST(Template, OutputIsLimited) {
    EXPECT_THAT(error_of("{% for i in range(100000) %}{{ 'x' * 1000 }}{% endfor %}"), HasSubstr("bytes"));
    EXPECT_THAT(error_of("{{ 'x' * 100000000000 }}"), HasSubstr("too often"));
    EXPECT_THAT(error_of("{{ [1] * 100000000000 }}"), HasSubstr("too often"));
    EXPECT_THAT(error_of("{% set ns = namespace(a='x') %}{% for i in range(60) %}{% set ns.a = ns.a ~ ns.a "
                         "%}{% endfor %}"),
                HasSubstr("bytes"));
    EXPECT_THAT(error_of("{% set ns = namespace(a=[1]) %}{% for i in range(60) %}{% set ns.a = ns.a + ns.a "
                         "%}{% endfor %}"),
                HasSubstr("more text and lists"));
    EXPECT_THAT(error_of("{{ '%1000000000d' % 5 }}"), HasSubstr("bytes"));
    EXPECT_THAT(error_of("{{ '%.100000f' % 5 }}"), HasSubstr("digits"));
    EXPECT_THAT(error_of("{{ ''.center(10000000000) }}"), HasSubstr("bytes"));
    EXPECT_THAT(error_of("{{ [[[1]]]|tojson(indent=100000000) }}"), HasSubstr("bytes"));
    EXPECT_EQ(render("{% for i in range(1000) %}{{ 'x' * 1000 }}{% endfor %}").size(), 1'000'000U);
}

TEST(Template, TheInputRaisesTheLimits) {
    const ordered_json variables = {{"text", std::string(12'000'000, 'x')}};
    EXPECT_EQ(render("{{ text }}{{ text|upper }}", variables).size(), 24'000'000U);
}

TEST(Template, RangesAreLimited) {
    EXPECT_EQ(render("{{ range(100000)|length }}"), "100000");
    EXPECT_THAT(error_of("{{ range(100001) }}"), HasSubstr("100000"));
    EXPECT_THAT(error_of("{{ range(-9223372036854775807, 9223372036854775807, 1) }}"), HasSubstr("100000"));
    EXPECT_EQ(render("{{ range(0, 9223372036854775807, 4611686018427387904)|list|length }}"), "2");
    EXPECT_THAT(
        error_of("{{ range(0, 9223372036854775807, 4611686018427387904)[::9223372036854775807]|list }}"),
        HasSubstr("64 bits"));
}

TEST(Template, TheSourceIsLimited) {
    EXPECT_THAT(error_of(std::string(300'000, 'x')), HasSubstr("262144"));
    EXPECT_EQ(render(std::string(200'000, 'x')).size(), 200'000U);
}

TEST(Template, NestingOfTheSourceIsLimited) {
    for (const char* unit :
         {"(", "[", "{'a':", "-", "not ", "x[", "f(", "x|f(", "1 if x else ", "x is sameas ("}) {
        SCOPED_TRACE(unit);
        EXPECT_THAT(error_of("{{ " + repeated(unit, 20'000) + " }}"), HasSubstr("line 1"));
    }
    EXPECT_THAT(error_of(repeated("{% if 1 %}", 20'000)), HasSubstr("nested"));
    EXPECT_THAT(error_of(repeated("{% for x in y %}", 10'000)), HasSubstr("nested"));
    EXPECT_EQ(render("{{ " + repeated("(", 100) + "1" + repeated(")", 100) + " }}"), "1");
}

TEST(Template, LongChainsAreNoNesting) {
    EXPECT_EQ(render("{{ 1" + repeated(" + 1", 20'000) + " }}"), "20001");
    EXPECT_EQ(render("{{ 'a'" + repeated("|upper", 20'000) + " }}"), "A");
    EXPECT_EQ(render("{{ x" + repeated(".strip()", 20'000) + " }}", {{"x", " a "}}), "a");
    EXPECT_EQ(render("{{ 1" + repeated(" and 1", 20'000) + " }}"), "1");
    EXPECT_EQ(render("{{ 1" + repeated(" if 1", 20'000) + " }}"), "1");
    EXPECT_EQ(render("{% if 0 %}" + repeated("{% elif 0 %}", 10'000) + "{% else %}e{% endif %}"), "e");
}

TEST(Template, RecursionIsLimited) {
    EXPECT_THAT(error_of("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}"), HasSubstr("levels deep"));
    EXPECT_THAT(error_of("{% macro f(n) %}{% if n %}{% for x in [n] %}{% set y %}{{ [f(n)] }}{% endset %}{% "
                         "endfor %}{% endif %}"
                         "{% endmacro %}{{ f(1) }}"),
                HasSubstr("levels deep"));
    EXPECT_THAT(error_of("{% for x in [[]] recursive %}{{ loop([x]) }}{% endfor %}"),
                HasSubstr("levels deep"));
    EXPECT_EQ(render("{% macro f(n) %}{% if n %}{{ f(n - 1) }}.{% endif %}{% endmacro %}{{ f(100) }}"),
              std::string(100, '.'));
}

TEST(Template, NestingOfValuesIsLimited) {
    EXPECT_THAT(
        error_of(
            "{% set ns = namespace(a=[]) %}{% for i in range(99999) %}{% set ns.a = [ns.a] %}{% endfor %}"),
        HasSubstr("levels deep"));
    EXPECT_THAT(error_of("{% set ns = namespace(a=[]) %}{% for i in range(99999) %}{% set ns.a = {'k': ns.a} "
                         "%}{% endfor %}"),
                HasSubstr("levels deep"));
    EXPECT_THAT(error_of("{% set ns = namespace(a=[]) %}{% for i in range(99999) %}{% set ns.a = "
                         "ns.a|map('string') %}{% endfor %}"),
                HasSubstr("levels deep"));
    EXPECT_THAT(error_of("{% set ns = namespace(a=1) %}{% for i in range(99999) %}{% set ns.a = joiner(ns.a) "
                         "%}{% endfor %}"),
                HasSubstr("levels deep"));
    ordered_json deep = 1;
    for (int i = 0; i < 129; ++i) deep = ordered_json::array({std::move(deep)});
    EXPECT_THAT(error_of("{{ x }}", {{"x", deep}}), HasSubstr("128 levels"));
}

TEST(Template, LongListsOfThingsThatHoldEachOtherAreFreed) {
    EXPECT_EQ(render("{% set ns = namespace(a=none) %}{% for i in range(99999) %}{% set ns.a = "
                     "namespace(next=ns.a) %}{% endfor %}ok"),
              "ok");
    EXPECT_EQ(render("{% set ns = namespace(a=none) %}{% set ns.a = ns %}{% set ns.b = [ns] %}ok"), "ok");
    EXPECT_EQ(render("{% set ns = namespace(a=none) %}{% for i in range(50000) %}{% for j in [ns.a] %}{% set "
                     "ns.a = loop %}"
                     "{% endfor %}{% endfor %}ok"),
              "ok");
    EXPECT_EQ(render("{% set ns = namespace(a=none) %}{% macro f() %}{% set old = ns.a %}{% macro g() %}{{ "
                     "old }}{% endmacro %}"
                     "{% set ns.a = g %}{% endmacro %}{% for i in range(20000) %}{{ f() }}{% endfor %}ok"),
              "ok");
}

TEST(Template, WholeNumbersHave64Bits) {
    EXPECT_EQ(render("{{ 9223372036854775807 }} {{ -9223372036854775807 - 1 }}"),
              "9223372036854775807 -9223372036854775808");
    for (const char* source :
         {"{{ 9223372036854775807 + 1 }}", "{{ -9223372036854775807 - 2 }}", "{{ 2 ** 63 }}",
          "{{ (-9223372036854775807 - 1) // -1 }}", "{{ -(-9223372036854775807 - 1) }}",
          "{{ 99999999999999999999 }}", "{{ '99999999999999999999'|int }}", "{{ 1e30|int }}",
          "{{ (-9223372036854775807 - 1)|abs }}"})
        EXPECT_THAT(error_of(source), HasSubstr("64 bits")) << source;
    EXPECT_EQ(render("{{ (-9223372036854775807 - 1) % -1 }}"), "0");
    // Beyond that, a number of the input can be printed, not calculated with.
    const ordered_json big = {{"x", 18446744073709551615ULL}};
    EXPECT_EQ(render("{{ x }} {{ x|tojson }} {{ [x] }} {{ x is number }} {{ x == x }}", big),
              "18446744073709551615 18446744073709551615 [18446744073709551615] True True");
    EXPECT_THAT(error_of("{{ x + 1 }}", big), HasSubstr("unsupported operand"));
}

TEST(Template, RecursiveLoops) {
    const auto tree = ordered_json::parse(
        R"({"t": [{"n": "a", "c": [{"n": "b", "c": []}, {"n": "c", "c": []}]}, {"n": "d", "c": []}]})");
    EXPECT_EQ(render("{% for x in t recursive %}{{ loop.depth }}{{ x.n }}{% if x.c %}({{ loop(x.c) }}){% "
                     "endif %}{% endfor %}",
                     tree),
              "1a(2b2c)1d");
}

TEST(Template, ALoopConditionHandsOnWhatItsTargetsTook) {
    EXPECT_EQ(
        render(
            "{% for a, b in ['xy', 'zw'] if a %}{{ a }}{{ loop.nextitem }}{{ loop.previtem }}{% endfor %}"),
        "x('z', 'w')z('x', 'y')");
}

TEST(Template, StrftimeNow) {
    EXPECT_THAT(render("{{ strftime_now('%Y-%m-%d') }}"),
                testing::MatchesRegex("[0-9]{4}-[0-9]{2}-[0-9]{2}"));
    EXPECT_THAT(render("{{ strftime_now('%f%%') }}"), testing::MatchesRegex("[0-9]{6}%"));
    EXPECT_THAT(error_of("{{ strftime_now('%c' * 1000) }}"), HasSubstr("too long"));
}

TEST(Template, ErrorsQuoteLittle) {
    const std::string name(5000, 'n');
    for (const std::string& source :
         {"{{ " + name + ".x }}", "{{ x|" + name + " }}", "{{ x is " + name + " }}", "{% " + name + " %}",
          "{{ {}." + name + ".x }}", "{{ dict(1, 2, " + name + "=1) }}", "{{ 1 " + name + " }}"})
        EXPECT_LT(error_of(source).size(), 200U) << source.substr(0, 30);
}

TEST(Template, InvalidUtf8DoesNoHarm) {
    const std::string bad = "a\xff\xc3 \xe2\x82 \xf0\x9f";
    // JSON text would not let it through; a template source might.
    (void)error_of("{{ '" + bad + "'|upper }}{{ '" + bad + "'[::-1] }}{{ '" + bad + "'|length }}{{ ['" + bad +
                   "'] }}" + bad);
    EXPECT_EQ(unicode::length(bad), 9U);  // a byte that is no UTF-8 is a code point
}

TEST(Template, ManyThreadsMayRenderOne) {
    const Template shared(
        "{% set ns = namespace(t=0) %}{% for x in xs %}{% set ns.t = ns.t + x|int %}{{ 'k' ~ x }}{% endfor "
        "%}={{ ns.t }}");
    const auto variables = ordered_json::parse(R"({"xs": [1, "2", 3.0]})");
    const std::string expected = shared.render(variables);
    std::vector<std::thread> threads;
    for (int i = 0; i < 8; ++i)
        threads.emplace_back([&] {
            for (int j = 0; j < 200; ++j) EXPECT_EQ(shared.render(variables), expected);
        });
    for (std::thread& thread : threads) thread.join();
}

TEST(Template, LongInputsTakeLinearTime) {
    const auto start = std::chrono::steady_clock::now();
    ordered_json messages = ordered_json::array();
    for (int i = 0; i < 4000; ++i)
        messages.push_back(
            {{"role", i % 2 == 0 ? "user" : "assistant"}, {"content", std::string(500, 'a') + "é"}});
    const std::string source =
        "{% for m in messages[::-1] %}{% if '</think>' in m.content %}{{ m.content.split('</think>')[-1] "
        "}}{% endif %}"
        "{{ m.role ~ m.content|trim ~ loop.index0 ~ messages|length }}{% if loop.previtem and "
        "loop.previtem.role != m.role %}|{% endif %}{% endfor %}";
    EXPECT_GT(render(source, {{"messages", messages}}).size(), 2'000'000U);
    EXPECT_EQ(render("{{ x.rfind(y) }}",
                     {{"x", std::string(3'000'000, 'a')}, {"y", "b" + std::string(1'000'000, 'a')}}),
              "-1");
    EXPECT_EQ(render("{{ y in x }}",
                     {{"x", std::string(3'000'000, 'a')}, {"y", std::string(1'000'000, 'a') + "b"}}),
              "False");
    EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(20));
}

/// Pieces that come close to templates; bytes that come close to nothing.
std::string random_source(std::mt19937& random) {
    static const std::vector<std::string> kPieces = {
        "{{",      "}}",     "{%",        "%}",       "{%-",    "-%}",      "{#",        "#}",       "for",
        "in",      "if",     "else",      "endif",    "endfor", "set",      "macro",     "endmacro", "call",
        "endcall", "filter", "endfilter", "raw",      "endraw", "x",        "y",         "loop",     "|",
        "is",      "not",    "and",       "(",        ")",      "[",        "]",         "{",        "}",
        ":",       ",",      ".",         "=",        "==",     "+",        "-",         "*",        "**",
        "//",      "%",      "~",         "'a'",      "\"",     "'",        "\\",        "1",        "2.5",
        "0x1f",    "1e9",    "none",      "true",     " ",      "\n",       "namespace", "range",    "map",
        "join",    "tojson", "upper",     "\xc3\xa9", "\xff",   "\xe2\x82", "recursive", "endset",   "break",
        "with"};
    const auto below = [&](std::size_t n) {
        return std::uniform_int_distribution<std::size_t>(0, n - 1)(random);
    };
    std::string out;
    if (below(4) == 0) {
        for (std::size_t i = 0, n = below(200); i < n; ++i) out.push_back(static_cast<char>(below(256)));
        return "{{" + out + "}}";
    }
    for (std::size_t i = 0, n = below(60); i < n; ++i)
        out += kPieces[below(kPieces.size())] + (below(3) == 0 ? " " : "");
    return out;
}

TEST(Template, AnyBytesEndInATextOrAnError) {
    std::mt19937 random(1);
    const auto variables = ordered_json::parse(R"({"x": {"a": [1, "b"]}, "y": "text"})");
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(2);
    int rendered = 0;
    for (int i = 0; i < 200'000 && std::chrono::steady_clock::now() < end; ++i) {
        const std::string source = random_source(random);
        try {
            (void)render(source, variables);
            ++rendered;
        } catch (const Error&) {  // the only thing that may come out
        }
    }
    EXPECT_GT(rendered, 10);
}

}  // namespace
}  // namespace sheaf::jinja
