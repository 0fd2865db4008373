#include "app/options_tables.h"

namespace sheaf::option_tables {

namespace {

using enum ValueKind;
using enum Standing;

constexpr OptionSpec server_table[] = {
    {.name = "host",
     .kind = text,
     .value = "ADDRESS",
     .help = "address to listen on (default: all interfaces)"},
    {.name = "port",
     .kind = integer,
     .value = "N",
     .fallback = "8000",
     .help = "port to listen on; 0: any free one, named in the log",
     .min = 0,
     .max = 65535},
    {.name = "uds", .kind = text, .value = "PATH", .help = "a Unix socket instead of host and port"},
    {.name = "served-model-name",
     .kind = texts,
     .value = "NAME...",
     .help = "names accepted as `model`; the first is the one that answers carry (default: MODEL as typed)"},
    {.name = "accept-any-model", .help = "answer requests for any model name"},
    {.name = "api-key",
     .kind = texts,
     .value = "KEY...",
     .help = "keys of which a request must carry one; everything but /health asks for it",
     .environment = "VLLM_API_KEY"},
    {.name = "drain-timeout",
     .kind = number,
     .value = "SECONDS",
     .fallback = "60",
     .help = "how long running answers may go on after SIGTERM",
     .min = 0,
     .max = 86400},
    {.name = "max-waiting",
     .kind = integer,
     .value = "N",
     .fallback = "256",
     .help = "requests that may queue; more get 429",
     .min = 0,
     .max = 1000000},
    {.name = "allowed-origins",
     .kind = texts,
     .value = "ORIGIN...",
     .help = "origins that browsers may call from (default: *, any)"},
    {.name = "disable-uvicorn-access-log",
     .help = "no line per request in the log",
     .aliases = "--disable-access-log"},
    {.name = "disable-log-stats", .help = "no lines of figures in the log"},
};

constexpr std::string_view always_on = "it is always so here";

constexpr OptionSpec api_table[] = {
    {.name = "chat-template",
     .kind = text,
     .value = "FILE",
     .help = "a Jinja template instead of the checkpoint's"},
    {.name = "default-chat-template-kwargs",
     .kind = json,
     .value = "JSON",
     .help = "template switches where a request names none, such as {\"enable_thinking\": false}"},
    {.name = "reasoning-parser",
     .kind = choice,
     .value = "qwen3|none",
     .fallback = "qwen3",
     .help = "what takes the reasoning out of an answer into its own field; none leaves it in the content"},
    {.name = "tool-call-parser",
     .kind = choice,
     .value = "qwen3_coder|qwen3_xml|none",
     .fallback = "qwen3_coder",
     .help = "what reads tool calls; both names mean the same reader; none leaves them in the content"},
    {.name = "enable-auto-tool-choice",
     .help = "let the model decide to call a tool",
     .standing = meaningless,
     .reason = "tool_choice auto always works here"},
    {.name = "generation-config",
     .kind = choice,
     .value = "auto|vllm|none",
     .fallback = "auto",
     .help = "auto: generation_config.json of the checkpoint sets what a request leaves open; vllm or none: "
             "it does not"},
    {.name = "override-generation-config",
     .kind = json,
     .value = "JSON",
     .help = "sampling defaults over those of generation_config.json"},
    {.name = "max-logprobs",
     .kind = integer,
     .value = "N",
     .fallback = "20",
     .help = "most alternatives a request may ask for",
     .min = 0,
     .max = 1000},
    {.name = "enable-prompt-tokens-details",
     .help = "report cached tokens in usage",
     .standing = meaningless,
     .reason = always_on},
    {.name = "enable-force-include-usage", .help = "send usage in every stream, asked for or not"},
    {.name = "trust-remote-code",
     .help = "run code of the model folder",
     .standing = meaningless,
     .reason = "no code of a model folder is ever run"},
    {.name = "enable-prefix-caching",
     .help = "keep the caches of earlier prompts",
     .standing = meaningless,
     .reason = "this version has no prefix cache yet"},
};

}  // namespace

const OptionGroup server_options{"Server", server_table};
const OptionGroup api_options{"API", api_table};

}  // namespace sheaf::option_tables
