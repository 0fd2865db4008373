// Arithmetic on one row of logits, shared by the sampler and by scoring. Must not know where the row came
// from.
#pragma once

#include <algorithm>
#include <cmath>
#include <span>

namespace sheaf {

/// log(sum(exp(row))), summed in double below the largest element. The row is finite and not empty.
inline double log_sum_exp(std::span<const float> row) {
    const double largest = *std::max_element(row.begin(), row.end());
    double sum = 0;
    for (const float value : row) sum += std::exp(static_cast<double>(value) - largest);
    return largest + std::log(sum);
}

}  // namespace sheaf
