# Writes OUTPUT, a unit that defines build_info.h, when anything in it changed. Run at each build.
execute_process(COMMAND git -C ${SOURCE} rev-parse --short=12 HEAD
                OUTPUT_VARIABLE commit OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET RESULT_VARIABLE failed)
if(failed)
  set(commit unknown)
else()
  execute_process(COMMAND git -C ${SOURCE} diff --quiet HEAD -- src RESULT_VARIABLE changed ERROR_QUIET)
  if(changed)
    string(APPEND commit "+")
  endif()
endif()
file(CONFIGURE OUTPUT ${OUTPUT} CONTENT [[
#include "app/build_info.h"

namespace sheaf::build_info {

const char* const version = "@VERSION@";
const char* const commit = "@commit@";
const char* const compiler = "@COMPILER@";
const char* const build_type = "@BUILD_TYPE@";

}  // namespace sheaf::build_info
]] @ONLY)
