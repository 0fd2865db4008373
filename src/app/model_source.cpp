#include "app/model_source.h"

#include "base/error.h"
#include "base/file.h"
#include "model/loader.h"
#include "model/random_weights.h"

namespace sheaf {

namespace fs = std::filesystem;

ModelSource open_model_source(const Options& options) {
    return open_model_source(options.model(), options);
}

namespace {

ModelSource open_random(const fs::path& path, const Options& options) {
    ModelSource source;
    source.path = path;
    source.config = fs::is_regular_file(path) ? parse_model_config(read_text_file(path), path.string())
                                              : load_model_config(path);
    source.random = make_random_weights(
        source.config, static_cast<uint64_t>(options.has("seed") ? options.integer("seed") : 0));
    source.weights = source.random.get();
    return source;
}

ModelSource open_checkpoint_folder(const fs::path& path) {
    ModelSource source;
    source.path = path;
    source.config = load_model_config(path);
    source.checkpoint = open_checkpoint(path);
    source.weights = source.checkpoint.get();
    return source;
}

fs::path find_model(const std::string& model, const Options& options) {
    return resolve_model(model, options.text("revision"), process_environment());
}

}  // namespace

ModelSource open_model_source(const std::string& model, const Options& options) {
    const fs::path path = find_model(model, options);
    if (options.flag("random-weights")) return open_random(path, options);
    if (fs::is_regular_file(path))
        fail(ErrorKind::invalid_input,
             "{}: is a file; MODEL is a folder (a bare config.json needs --random-weights)", path.string());
    return open_checkpoint_folder(path);
}

ModelSource open_planned_source(const Options& options) {
    const fs::path path = find_model(options.model(), options);
    return options.flag("random-weights") || fs::is_regular_file(path) ? open_random(path, options)
                                                                       : open_checkpoint_folder(path);
}

}  // namespace sheaf
