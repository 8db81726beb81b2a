# Sets `kernels` to a source that has the kernels of ragged.cu as bytes. They are compiled for each GPU of `wanted` that
# nvcc knows. All other GPUs get PTX of the oldest and the newest. Without a working nvcc the source has no kernels, and
# the runtime says so.
set(wanted 75 80 86 89 90 100 120)
set(fatbin ${CMAKE_CURRENT_BINARY_DIR}/ragged.fatbin)
set(kernels ${CMAKE_CURRENT_BINARY_DIR}/fatbin.cpp)
set(bytes "0")
set(size 0)

find_program(nvcc nvcc PATHS /usr/local/cuda/bin)
if(nvcc)
  execute_process(COMMAND ${nvcc} --list-gpu-code OUTPUT_VARIABLE known ERROR_QUIET)
endif()
if(known MATCHES "sm_")
  set(targets "")
  set(found "")
  foreach(each ${wanted})
    if(known MATCHES "sm_${each}")
      list(APPEND targets "-gencode=arch=compute_${each},code=sm_${each}")
      list(APPEND found ${each})
    endif()
  endforeach()
  list(GET found 0 oldest)
  list(GET found -1 newest)
  foreach(each ${oldest} ${newest})
    list(APPEND targets "-gencode=arch=compute_${each},code=compute_${each}")
  endforeach()
  # No fused multiply-add, as on the CPU: weights must be rounded as Pillow rounds them. No --compress-mode: nvcc 13 compresses
  # the PTX alone, which saves 64 of 384 KB and nothing in a wheel, and drivers below 580 read neither its PTX nor its code, however stored.
  execute_process(
    COMMAND ${nvcc} -fatbin -O3 -fmad=false -std=c++17 --threads 0 ${targets} -o ${fatbin}
            ${CMAKE_CURRENT_SOURCE_DIR}/${native}/ragged.cu
    RESULT_VARIABLE failed ERROR_VARIABLE said)
  if(failed)
    message(WARNING "nvcc failed, so there will be no CUDA kernels: ${said}")
  else()
    file(READ ${fatbin} bytes HEX)
    string(LENGTH ${bytes} size)
    math(EXPR size "${size} / 2")
    string(REGEX REPLACE "(..)" "0x\\1," bytes ${bytes})
  endif()
endif()
file(WRITE ${kernels} "#include <cstddef>
extern \"C\" {
extern const unsigned char declip_fatbin[];
extern const size_t declip_fatbin_size;
alignas(64) const unsigned char declip_fatbin[] = {${bytes}};
const size_t declip_fatbin_size = ${size};
}
")
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS
             ${native}/ragged.cu ${native}/ragged.h ${native}/resample.h)
