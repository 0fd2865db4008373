// Counter-based random numbers: a value is a pure function of a key and a counter, so the same numbers come
// out for any number of threads, any batch and any order. Used for sampling noise and random weights. Must
// not know either.
#pragma once

#include <cstdint>

namespace sheaf {

/// 64 well-mixed bits of (key, counter): two rounds of the SplitMix64 finalizer.
inline uint64_t counter_random_bits(uint64_t key, uint64_t counter) {
    auto mix = [](uint64_t z) {
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
        return z ^ (z >> 31);
    };
    return mix(mix(key + 0x9e3779b97f4a7c15ull) ^ (counter * 0x9e3779b97f4a7c15ull + 0xd1b54a32d192ed03ull));
}

/// Uniform in the open interval (0, 1), 53 bits.
inline double counter_random_uniform(uint64_t key, uint64_t counter) {
    return (static_cast<double>(counter_random_bits(key, counter) >> 11) + 0.5) * 0x1.0p-53;
}

/// FNV-1a of a string, to derive a key from a name.
constexpr uint64_t hash_name(const char* data, uint64_t size) {
    uint64_t hash = 0xcbf29ce484222325ull;
    for (uint64_t i = 0; i < size; ++i) hash = (hash ^ static_cast<uint8_t>(data[i])) * 0x100000001b3ull;
    return hash;
}

}  // namespace sheaf
