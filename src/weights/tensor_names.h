// The names of tensors: published checkpoints of one model spell their prefixes in several ways; this maps
// each to the original's. Used by the loader, inspect and doctor through Checkpoint::rename. Must not know
// shapes or the layers' inner names.
#pragma once

#include <string>
#include <string_view>

namespace sheaf {

/// The original's spelling of a tensor or module name: "model.language_model." before layers, embed_tokens
/// and norm, "model.visual.", "lm_head.", "mtp.". Any combination of leading "model." and "language_model."
/// is understood: the text-only class ("model.layers"), raw saves ("language_model.model.layers", "layers"),
/// "model.language_model.lm_head". A name of no known part is returned as it is.
std::string canonical_tensor_name(std::string_view name);

}  // namespace sheaf
