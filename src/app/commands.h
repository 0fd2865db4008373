// The commands: one function per word after `sheaf`, each in a file of its own, returning the exit status.
// Called by main alone. Results go to standard output, everything else to standard error.
#pragma once

#include "app/options.h"

namespace sheaf {

enum ExitStatus { exit_done = 0, exit_failed = 1, exit_usage = 2, exit_findings = 3 };

int run_bench(const Options& options);
int run_chat(const Options& options);
int run_compare(const Options& options);
int run_generate(const Options& options);
int run_healthcheck(const Options& options);
int run_help(const Options& options);
int run_inspect(const Options& options);
int run_plan(const Options& options);
int run_prompt(const Options& options);
int run_score(const Options& options);
int run_serve(const Options& options);
int run_version(const Options& options);

}  // namespace sheaf
