// The option groups that several commands share, and the two long ones of `sheaf serve`. Used by the tables
// of commands alone. Must not know how options are parsed.
#pragma once

#include "app/options.h"

namespace sheaf::option_tables {

extern const OptionGroup model_options;    // which model
extern const OptionGroup run_options;      // device, dtype, threads, seed
extern const OptionGroup general_options;  // config, log-level
extern const OptionGroup engine_options;   // context, batch, caches
extern const OptionGroup server_options;   // address, names, keys
extern const OptionGroup api_options;      // parsers, templates, defaults
extern const OptionGroup vllm_options;     // known, and nothing to do here

}  // namespace sheaf::option_tables
