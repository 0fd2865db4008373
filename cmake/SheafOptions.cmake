set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)

if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "build type" FORCE)
endif()

# The CUDA back end needs nvcc to build; the program that comes out runs without a driver too.
set(SHEAF_CUDA AUTO CACHE STRING "build the CUDA back end: ON, OFF, or AUTO (when nvcc is found)")
set_property(CACHE SHEAF_CUDA PROPERTY STRINGS AUTO ON OFF)
set(SHEAF_SANITIZE "" CACHE STRING "sanitizers, as in -fsanitize=")
option(SHEAF_WERROR "warnings are errors" ON)

find_program(SHEAF_CCACHE ccache)
if(SHEAF_CCACHE)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${SHEAF_CCACHE})
  set(CMAKE_CUDA_COMPILER_LAUNCHER ${SHEAF_CCACHE})
endif()
if(NOT SHEAF_CUDA STREQUAL "OFF")
  include(SheafCuda)
else()
  set(SHEAF_CUDA_ENABLED OFF)
endif()
find_program(SHEAF_MOLD mold)
if(SHEAF_MOLD AND NOT SHEAF_SANITIZE)
  add_link_options(-fuse-ld=mold)
endif()

add_compile_options("$<$<COMPILE_LANGUAGE:CXX>:-Wall;-Wextra;-Wshadow;-Wnon-virtual-dtor;-Woverloaded-virtual>")
# GCC 12 sees overlapping copies in std::string concatenation that are not there (GCC bug 105651).
add_compile_options("$<$<COMPILE_LANG_AND_ID:CXX,GNU>:-Wno-restrict>")
if(SHEAF_WERROR)
  add_compile_options("$<$<COMPILE_LANGUAGE:CXX>:-Werror>")
endif()
# Results must not depend on which multiplications a compiler chooses to contract: kernels call fma themselves.
add_compile_options("$<$<COMPILE_LANGUAGE:CXX>:-ffp-contract=off>")
if(SHEAF_SANITIZE)
  add_compile_options(-fsanitize=${SHEAF_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${SHEAF_SANITIZE})
  add_compile_options(-Wno-error=maybe-uninitialized)  # instrumented code of Beast and the standard library
  if(SHEAF_SANITIZE MATCHES thread)  # Asio's fence, which ThreadSanitizer cannot follow
    add_compile_options(-Wno-error=tsan)
  endif()
endif()
