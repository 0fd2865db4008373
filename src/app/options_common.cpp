#include "app/options_tables.h"

namespace sheaf::option_tables {

namespace {

using enum ValueKind;
using enum Standing;

constexpr OptionSpec model_table[] = {
    {.name = "model", .kind = text, .value = "MODEL", .help = "the same as the operand MODEL"},
    {.name = "revision",
     .kind = text,
     .value = "REV",
     .help = "branch, tag or commit of an owner/name in the Hugging Face cache (default: main, else what is "
             "there)"},
    {.name = "random-weights",
     .help = "MODEL is a config.json (or a folder with one): weights come from a counter generator, in the "
             "quantization that the config names"},
    {.name = "layers",
     .kind = integer,
     .value = "N",
     .help = "only the first N decoder layers: for measuring",
     .min = 1,
     .max = 10000},
    {.name = "download",
     .help = "fetch MODEL from the Hugging Face hub",
     .standing = refused,
     .reason = "this version downloads nothing; fetch the folder first (hf download OWNER/NAME) and name it, "
               "or its owner/name"},
};

constexpr OptionSpec run_table[] = {
    {.name = "device",
     .kind = choice,
     .value = "auto|cpu|cuda|cuda:N",
     .fallback = "auto",
     .help = "where the model runs"},
    {.name = "dtype",
     .kind = choice,
     .value = "auto|bfloat16|float32",
     .fallback = "auto",
     .help = "what activations and caches are kept in; auto is bfloat16",
     .reason = "float16 overflows in the linear attention of this architecture (its range ends at 65504) and "
               "the output becomes NaN; use bfloat16"},
    {.name = "threads",
     .kind = integer,
     .value = "N",
     .fallback = "0",
     .help = "CPU threads; 0: all of the machine. Results do not depend on it",
     .min = 0,
     .max = 1024},
    {.name = "deterministic",
     .help =
         "on a GPU, keep to kernels whose results for a sequence do not depend on what else is in a step; "
         "slower. A CPU always works so"},
    {.name = "seed",
     .kind = integer,
     .value = "N",
     .fallback = "0",
     .help = "seed of random weights, and of sampling in generate and chat"},
};

constexpr OptionSpec general_table[] = {
    {.name = "config", .kind = text, .value = "FILE.yaml", .help = "more options, as a map of name: value"},
    {.name = "log-level",
     .kind = choice,
     .value = "trace|debug|info|warning|error|off",
     .fallback = "info",
     .help = "what is written to standard error",
     .aliases = "--uvicorn-log-level"},
};

constexpr OptionSpec engine_table[] = {
    {.name = "max-model-len",
     .kind = size,
     .value = "N",
     .fallback = "auto",
     .help = "most tokens of a prompt and its answer together; 32k is 32,000, 32K is 32,768; auto: what the "
             "model allows and memory holds"},
    {.name = "max-num-seqs",
     .kind = integer,
     .value = "N",
     .fallback = "0",
     .help = "most sequences running at once; 0: chosen from memory",
     .min = 0,
     .max = 65536},
    {.name = "max-num-batched-tokens",
     .kind = integer,
     .value = "N",
     .fallback = "0",
     .help = "token budget of one step, shared by running sequences and pieces of prompts; 0: chosen",
     .min = 0,
     .max = 1 << 20},
    {.name = "kv-cache-memory-bytes",
     .kind = bytes,
     .value = "BYTES",
     .fallback = "0",
     .help = "memory for KV pages and states (8GiB, 500MB); 0: a share of what is free",
     .aliases = "--kv-cache-memory",
     .min = 0},
    {.name = "gpu-memory-utilization",
     .kind = number,
     .value = "X",
     .fallback = "0",
     .help = "share of a GPU's memory that weights, caches and steps may take together; 0: all but 1 GiB",
     .min = 0,
     .max = 1},
    {.name = "enforce-eager",
     .help = "do every step of a GPU kernel by kernel instead of replaying recorded ones; same results"},
    {.name = "async-scheduling",
     .help = "launch the next step before the tokens of the last one are looked at; same results"},
    {.name = "block-size",
     .kind = integer,
     .value = "N",
     .fallback = "16",
     .help = "tokens of one KV page",
     .min = 1,
     .max = 1024},
    {.name = "kv-cache-dtype",
     .kind = choice,
     .value = "auto|bfloat16|fp8|fp8_e4m3",
     .fallback = "auto",
     .help = "what keys and values are kept in; fp8: e4m3 with scale 1, on a GPU"},
    {.name = "mamba-ssm-cache-dtype",
     .kind = choice,
     .value = "auto|float32|bfloat16",
     .fallback = "auto",
     .help = "what the recurrent state is kept in; auto: float32"},
};

}  // namespace

const OptionGroup model_options{"Model", model_table};
const OptionGroup run_options{"Machine", run_table};
const OptionGroup general_options{"General", general_table};
const OptionGroup engine_options{"Engine", engine_table};

}  // namespace sheaf::option_tables
