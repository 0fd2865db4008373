// The shared memory of the tile products: how many stages of the ring fit a block. Used by their launchers;
// host code. Must not know what is multiplied.
#pragma once

#include "backend/cuda/matrix/device_matrix.h"
#include "backend/cuda/matrix/launch.h"
#include "backend/cuda/matrix/tiles.cuh"

namespace sheaf::cuda {

/// Stages for tiles of up to `rows` rows: as many as fit.
inline TileRing tile_ring_for(const DeviceMatrix& m, int64_t rows) {
    TileRing ring{};
    ring.weights_offset = static_cast<uint32_t>(2 * ((rows + 7) / 8 * 8) * 128);
    ring.stage_bytes =
        (ring.weights_offset + static_cast<uint32_t>(tile_blocks * m.unit_bytes) + 1023) / 1024 * 1024;
    const auto room = static_cast<int>((device_limits().block_memory - tile_front_bytes) / ring.stage_bytes);
    ring.stages = room < max_tile_stages ? room : max_tile_stages;
    return ring;
}

inline uint32_t tile_memory_bytes(const TileRing& ring) {
    return tile_front_bytes + static_cast<uint32_t>(ring.stages) * ring.stage_bytes;
}

}  // namespace sheaf::cuda
