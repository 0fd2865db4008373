#include "backend/cuda/recording.h"

#include "backend/cuda/cuda_error.h"

namespace sheaf::cuda {
namespace {

class GraphRecording final : public Recording {
  public:
    GraphRecording(std::shared_ptr<const CudaContext> context, cudaGraph_t graph)
        : context_(std::move(context)) {
        check(cudaGraphInstantiate(&graph_, graph, 0), "making a recorded step ready");
        check(cudaGraphUpload(graph_, context_->stream()), "making a recorded step ready");
    }
    ~GraphRecording() override {
        cudaSetDevice(context_->index);
        cudaStreamSynchronize(context_->stream());
        cudaGraphExecDestroy(graph_);
    }
    void replay() override { check(cudaGraphLaunch(graph_, context_->stream()), "a recorded step"); }

  private:
    std::shared_ptr<const CudaContext> context_;
    cudaGraphExec_t graph_ = nullptr;
};

}  // namespace

std::unique_ptr<Recording> record_graph(std::shared_ptr<const CudaContext> context,
                                        const std::function<void()>& body) {
    const cudaStream_t stream = context->stream();
    cudaGraph_t graph = nullptr;
    check(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), "recording a step");
    try {
        body();
    } catch (...) {
        cudaStreamEndCapture(stream, &graph);
        if (graph) cudaGraphDestroy(graph);
        cudaGetLastError();
        throw;
    }
    check(cudaStreamEndCapture(stream, &graph), "recording a step");
    try {
        auto recording = std::make_unique<GraphRecording>(std::move(context), graph);
        cudaGraphDestroy(graph);
        return recording;
    } catch (...) {
        cudaGraphDestroy(graph);
        throw;
    }
}

}  // namespace sheaf::cuda
