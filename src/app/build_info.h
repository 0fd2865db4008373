// What the build knew about itself. Written by git_version.cmake into the build folder at each build; read by
// `sheaf version` and the server. Must not know the machine that it runs on.
#pragma once

namespace sheaf::build_info {

extern const char* const version;     // "0.1.0"
extern const char* const commit;      // "a1b2c3d", with + for uncommitted changes; "unknown" outside git
extern const char* const compiler;    // "GNU 12.2.0"
extern const char* const build_type;  // "Release"

}  // namespace sheaf::build_info
