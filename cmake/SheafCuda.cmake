# Switches the CUDA language on where nvcc is, and sets SHEAF_CUDA_ENABLED. One architecture by default, so that a
# build is quick; the preset `cuda` compiles for all that are supported.
find_program(SHEAF_NVCC nvcc HINTS ENV CUDA_HOME ENV CUDA_PATH PATHS /usr/local/cuda PATH_SUFFIXES bin)
set(SHEAF_CUDA_ENABLED OFF)
if(NOT SHEAF_NVCC)
  if(SHEAF_CUDA STREQUAL "AUTO")
    message(STATUS "CUDA: no nvcc found, the program is built for the CPU alone")
    return()
  endif()
  message(FATAL_ERROR "SHEAF_CUDA=ON needs nvcc (CUDA toolkit 13.0 or later) in the path or in CUDA_HOME")
endif()

if(NOT CMAKE_CUDA_ARCHITECTURES)
  set(CMAKE_CUDA_ARCHITECTURES 90a-real CACHE STRING "GPU architectures to compile for")
endif()
set(CMAKE_CUDA_COMPILER ${SHEAF_NVCC})
enable_language(CUDA)
find_package(CUDAToolkit 13.0 REQUIRED)
if(CMAKE_VERSION VERSION_LESS 3.25.2)  # knows no C++20 flag for nvcc
  set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION "-std=c++20")
  set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION "-std=c++20")
endif()
set(CMAKE_CUDA_STANDARD 20)
set(CMAKE_CUDA_STANDARD_REQUIRED ON)
set(CMAKE_CUDA_EXTENSIONS OFF)
set(CMAKE_CUDA_RUNTIME_LIBRARY Static)  # and so no shared library to miss on a machine without a GPU
set(SHEAF_CUDA_ENABLED ON)
message(STATUS "CUDA: nvcc ${CMAKE_CUDA_COMPILER_VERSION}, architectures ${CMAKE_CUDA_ARCHITECTURES}")
# nvcc cannot evaluate fmt's checks of format strings; in its units they are left to the run time.
add_compile_definitions("$<$<COMPILE_LANGUAGE:CUDA>:FMT_CONSTEVAL=;FMT_USE_CONSTEXPR=1>")
