#include "app/options_tables.h"

namespace sheaf {

namespace {

using enum ValueKind;
using enum Standing;
using namespace option_tables;

constexpr OptionSpec json_table[] = {
    {.name = "json", .help = "one JSON object on standard output and nothing else"},
};

constexpr OptionSpec input_table[] = {
    {.name = "prompt", .kind = text, .value = "TEXT", .help = "one user turn"},
    {.name = "input",
     .kind = text,
     .value = "FILE",
     .help = "JSONL; - is standard input. A line has token_ids, prompt or messages, an optional id, and any "
             "field of a chat completion request"},
    {.name = "system", .kind = text, .value = "TEXT", .help = "a system message before --prompt"},
    {.name = "image",
     .kind = texts,
     .value = "FILE...",
     .help = "images for --prompt",
     .standing = refused,
     .reason = "this version reads text only"},
    {.name = "video",
     .kind = texts,
     .value = "FILE...",
     .help = "videos for --prompt",
     .standing = refused,
     .reason = "this version reads text only"},
    {.name = "chat-template",
     .kind = text,
     .value = "FILE",
     .help = "a Jinja template instead of the checkpoint's"},
    {.name = "chat-template-kwargs",
     .kind = ValueKind::json,
     .value = "JSON",
     .help = "template switches, such as {\"enable_thinking\": false}; a line's own come first",
     .aliases = "--default-chat-template-kwargs"},
};

constexpr OptionSpec sampling_table[] = {
    {.name = "max-tokens",
     .kind = integer,
     .value = "N",
     .help = "most tokens of an answer (default: what the context leaves)",
     .min = 0,
     .max = 1 << 24},
    {.name = "temperature",
     .kind = number,
     .value = "X",
     .help = "0 takes the likeliest token",
     .min = 0,
     .max = 100},
    {.name = "top-p",
     .kind = number,
     .value = "X",
     .help = "the likeliest tokens that together have this probability",
     .min = 0,
     .max = 1},
    {.name = "top-k",
     .kind = integer,
     .value = "N",
     .help = "the N likeliest tokens; 0 and -1: all",
     .min = -1,
     .max = 1 << 24},
    {.name = "min-p",
     .kind = number,
     .value = "X",
     .help = "tokens at least this fraction as likely as the likeliest",
     .min = 0,
     .max = 1},
    {.name = "presence-penalty",
     .kind = number,
     .value = "X",
     .help = "against what the answer already has",
     .min = -2,
     .max = 2},
    {.name = "frequency-penalty",
     .kind = number,
     .value = "X",
     .help = "the same, growing with the count",
     .min = -2,
     .max = 2},
    {.name = "repetition-penalty",
     .kind = number,
     .value = "X",
     .help = "against what prompt and answer already have; 1: off",
     .min = 0.01,
     .max = 100},
    {.name = "stop", .kind = texts, .value = "TEXT...", .help = "texts that end an answer"},
    {.name = "ignore-eos", .help = "go on after the end token"},
    {.name = "generation-config",
     .kind = choice,
     .value = "auto|none",
     .fallback = "auto",
     .help = "whether generation_config.json of the checkpoint sets what is left open"},
};

constexpr OptionSpec generate_table[] = {
    {.name = "json", .help = "JSONL also for --prompt"},
};

constexpr OptionSpec chat_table[] = {
    {.name = "system", .kind = text, .value = "TEXT", .help = "the system message to begin with"},
    {.name = "think", .help = "begin with reasoning on (--no-think: off; default: the template's own)"},
    {.name = "chat-template",
     .kind = text,
     .value = "FILE",
     .help = "a Jinja template instead of the checkpoint's"},
};

constexpr OptionSpec score_table[] = {
    {.name = "logits",
     .kind = text,
     .value = "OUT.safetensors",
     .help = "write ID.token_ids and ID.logits of every line"},
    {.name = "positions",
     .kind = choice,
     .value = "all|last",
     .fallback = "all",
     .help = "which positions' logits to write"},
    {.name = "json", .help = "the summary as one JSON object"},
};

constexpr OptionSpec compare_table[] = {
    {.name = "max-kl",
     .kind = number,
     .value = "X",
     .help = "exit status 3 when the mean KL divergence is beyond X",
     .min = 0},
    {.name = "json", .help = "the result as one JSON object"},
};

constexpr OptionSpec prompt_table[] = {
    {.name = "as-is",
     .help = "hand messages, tools and switches to the template untouched, and print only text (or error)"},
    {.name = "pixels",
     .kind = text,
     .value = "OUT.safetensors",
     .help = "write the patches of images and videos",
     .standing = refused,
     .reason = "this version reads text only"},
};

constexpr OptionSpec inspect_table[] = {
    {.name = "tensors", .help = "list every tensor"},
    {.name = "context",
     .kind = size,
     .value = "N",
     .fallback = "2048",
     .help = "tokens per sequence for the memory figure"},
    {.name = "json", .help = "one JSON object"},
};

constexpr OptionSpec plan_table[] = {
    {.name = "gpu",
     .kind = text,
     .value = "NAME",
     .help = "memory, bandwidth and speed of a known one: h200, h100, b200, a100-80gb, l40s, rtx-pro-6000, "
             "rtx-5090, rtx-4090, rtx-3090"},
    {.name = "gpus",
     .kind = integer,
     .value = "N",
     .fallback = "0",
     .help = "devices that share the model; 0 without --gpu or --gpu-memory: host memory only",
     .min = 0,
     .max = 1024},
    {.name = "gpu-memory", .kind = bytes, .value = "BYTES", .help = "usable memory of one device", .min = 1},
    {.name = "ram",
     .kind = bytes,
     .value = "BYTES",
     .help = "host memory (default: what this machine has)",
     .min = 0},
    {.name = "bandwidth",
     .kind = number,
     .value = "GB/s",
     .help = "of one device's memory (or the host's), for the speed",
     .min = 0.001},
    {.name = "flops",
     .kind = number,
     .value = "TFLOP/s",
     .help = "of one device (or the host), for prefill",
     .min = 0.001},
    {.name = "efficiency",
     .kind = number,
     .value = "X",
     .fallback = "0.6",
     .help = "share of the ceiling to predict",
     .min = 0.01,
     .max = 1},
    {.name = "context",
     .kind = size,
     .value = "N",
     .fallback = "2048",
     .help = "tokens of each sequence",
     .aliases = "--max-model-len"},
    {.name = "streams",
     .kind = texts,
     .value = "N...",
     .help = "numbers of sequences to plan for (default: 1 2 4 8 16 32 64 128)",
     .aliases = "--batch"},
    {.name = "kv-dtype",
     .kind = choice,
     .value = "bfloat16|float32|fp8",
     .fallback = "bfloat16",
     .help = "what keys and values are kept in"},
    {.name = "state-dtype",
     .kind = choice,
     .value = "float32|bfloat16",
     .fallback = "float32",
     .help = "what the recurrent state is kept in"},
    {.name = "json", .help = "one JSON object"},
};

constexpr OptionSpec bench_table[] = {
    {.name = "batch", .kind = text, .value = "1,8,32", .fallback = "1", .help = "sequences decoded together"},
    {.name = "context",
     .kind = text,
     .value = "128,2048",
     .fallback = "128",
     .help = "tokens already in the caches of each"},
    {.name = "prefill",
     .kind = text,
     .value = "512,8x2048",
     .fallback = "512",
     .help = "prompt lengths, of several prompts side by side as 8x2048; none: decode only"},
    {.name = "routing",
     .kind = choice,
     .value = "natural|uniform|zipf",
     .fallback = "natural",
     .help = "which experts tokens go to: the model's own choice, all alike, or few often; bytes are always "
             "counted for uniform routing"},
    {.name = "repeat",
     .kind = integer,
     .value = "N",
     .fallback = "5",
     .help = "timed steps per row (the median counts)",
     .min = 1,
     .max = 10000},
    {.name = "json",
     .kind = text,
     .value = "FILE",
     .help = "write the rows as JSON; - is standard output instead of the table"},
};

constexpr OptionSpec healthcheck_table[] = {
    {.name = "url",
     .kind = text,
     .value = "URL",
     .fallback = "http://127.0.0.1:8000",
     .help = "the server, with or without /health"},
    {.name = "timeout",
     .kind = number,
     .value = "SECONDS",
     .fallback = "5",
     .help = "how long to wait for the answer",
     .min = 0.01,
     .max = 3600},
};

constexpr OptionSpec help_table[] = {
    {.name = "markdown", .help = "all commands, as docs/cli.md"},
};

const OptionGroup only_json{"Output", json_table}, input{"Input", input_table},
    sampling{"Sampling", sampling_table};

const std::vector<CommandSpec> commands = {
    {"serve",
     "MODEL",
     1,
     1,
     "answer over HTTP, in OpenAI's form",
     "Listens at once and answers /health with 503 and the progress while the model loads. SIGTERM lets "
     "running "
     "answers finish (--drain-timeout), then ends with status 0; Ctrl-C does the same and ends with 130.",
     {model_options, run_options, engine_options, server_options, api_options, general_options,
      vllm_options}},
    {"chat",
     "MODEL",
     1,
     1,
     "talk to a model in the terminal",
     "Commands inside: /think on|off, /system TEXT, /clear, /help, /quit. Ctrl-C stops the answer only.",
     {model_options, run_options, engine_options, {"Chat", chat_table}, sampling, general_options}},
    {"generate",
     "MODEL",
     1,
     1,
     "answer prompts from a file, without a server",
     "Writes JSONL in input order: id, prompt_token_ids, token_ids, text (raw), reasoning, content, "
     "tool_calls, "
     "finish_reason, usage, logprobs when asked. A bad line gives {id, error} and the rest goes on. "
     "--prompt "
     "prints just the answer, as it comes, unless --json.",
     {model_options,
      run_options,
      engine_options,
      input,
      sampling,
      {"Output", generate_table},
      general_options}},
    {"score",
     "MODEL",
     1,
     1,
     "how likely a model finds given texts",
     "Forward only: tokens, negative log likelihood and perplexity of the input, and the logits when "
     "asked.",
     {model_options, run_options, input, {"Scoring", score_table}, general_options}},
    {"compare",
     "MODEL OTHER",
     2,
     2,
     "how far two models are apart on the same input",
     "OTHER is a model, or a file that `sheaf score --logits` wrote. KL divergence (of OTHER from MODEL: "
     "mean, p99, "
     "max), top-1 agreement, perplexity of both.",
     {model_options, run_options, input, {"Comparison", compare_table}, general_options}},
    {"prompt",
     "MODEL",
     1,
     1,
     "what the model sees of an input",
     "JSONL: id, text (rendered), token_ids, position_ids (3 x tokens), images, videos. A token_ids line "
     "gives its "
     "decoding in text and text_skip_special. Reads no weights.",
     {model_options, input, {"Output", prompt_table}, general_options}},
    {"inspect",
     "MODEL",
     1,
     1,
     "a checkpoint at a glance",
     "Architecture, sizes, layers, experts, formats per tensor family, bytes, memory needed. Reads "
     "headers only.",
     {model_options, {"Output", inspect_table}, general_options}},
    {"plan",
     "MODEL",
     1,
     1,
     "what fits where, and how fast it can be at best",
     "Memory arithmetic for given devices, memory, context and streams: placement, tokens that fit, and "
     "the speed "
     "that memory bandwidth allows. MODEL may be a bare config.json.",
     {model_options, {"Plan", plan_table}, general_options}},
    {"bench",
     "MODEL",
     1,
     1,
     "measure prefill and decode",
     "Tokens per second, bytes and operations per step, and the share of the peak that the same run "
     "measured.",
     {model_options, run_options, {"Measurement", bench_table}, general_options}},
    {"healthcheck",
     "",
     0,
     0,
     "ask a server whether it is ready",
     "Exit status 0: ready; 1: not.",
     {{"Server", healthcheck_table}, general_options}},
    {"version",
     "",
     0,
     0,
     "version, commit, back ends, features of this machine",
     "",
     {only_json, general_options}},
    {"help", "[COMMAND]", 0, 1, "this, or the options of a command", "", {{"Output", help_table}}},
};

}  // namespace

const std::vector<CommandSpec>& command_specs() {
    return commands;
}

const CommandSpec* find_command(std::string_view name) {
    for (const CommandSpec& command : command_specs())
        if (command.name == name) return &command;
    return nullptr;
}

}  // namespace sheaf
