// The waist of the program. Above it the model is written once, in these words; below it stand the machines.
// An Ops carries the memory of a step and computes at once or in stream order. Three kinds of member:
//   primitives   what every back end must have (pure virtual);
//   operators    fused forms with a defining body made of primitives (definitions.cpp): that body is
//   documentation,
//                fallback, test oracle and derivative; a back end overrides it when measured worth it;
//   collectives  identity for one rank.
// Unless said otherwise tensors are activation_dtype(), results are fresh memory of the step and never alias
// inputs. Shapes are (rows, columns) with rows = tokens where not spelled out. Must not know model, files,
// text or requests.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "ops/batch.h"
#include "ops/machine.h"
#include "ops/sampling.h"
#include "tensor/tensor.h"

namespace sheaf {

/// Zero-centred RMS norm: x * rsqrt(mean(x^2) + epsilon) * (1 + weight), statistics in fp32.
struct Norm {
    Tensor weight;  // f32 (columns)
    float epsilon = 1e-6f;
};

/// Rotary embedding of the first 2 * frequencies of a head's dimensions, pairing dimension i with i +
/// frequencies. angle_i = position[axis_i] * frequency_i in fp32; cos and sin are multiplied by `scale`
/// (YaRN; otherwise 1).
struct Rotary {
    Tensor frequencies;  // f32 (frequencies)
    Tensor
        axes;  // i32 (frequencies): which row of Batch::positions turns this frequency (interleaved M-RoPE)
    float scale = 1.0f;
};

/// Which experts each token goes to: ids i32 and weights f32, both (tokens, top_k), by falling probability,
/// ties to the lower id.
struct Routing {
    Tensor ids, weights;
};

/// Inputs of gated attention as projected. query_and_gate: (tokens, heads * 2 * head_dim), per head first the
/// query, then the gate; key, value: (tokens, kv_heads * head_dim).
struct GatedAttentionInput {
    Tensor query_and_gate, key, value;
    Norm q_norm, k_norm;
    int64_t heads = 0, kv_heads = 0, head_dim = 0;
};

/// Inputs of the gated delta rule. query, key: (tokens, key_heads * key_dim) before L2 normalization; value:
/// (tokens, value_heads * value_dim); a, b: (tokens, value_heads); a_log, dt_bias: f32 (value_heads).
struct DeltaRuleInput {
    Tensor query, key, value, a, b, a_log, dt_bias;
    int64_t key_heads = 0, value_heads = 0, key_dim = 0, value_dim = 0;
};

enum class Unary { silu, sigmoid, softplus, exp, negate, gelu_tanh, gelu_erf };
enum class Binary { add, subtract, multiply };

/// Inputs of a Gated DeltaNet layer between its projections. x: (tokens, channels) before the convolution,
/// whose result is query, key and value side by side; taps: f32 (channels, kernel); gate: (tokens,
/// value_heads * value_dim); rule: everything but query, key and value; norm: plain weight (value_dim).
struct GatedDeltaNetInput {
    Tensor x, taps, gate;
    DeltaRuleInput rule;
    Norm norm;
};

/// The work of a step, kept by a back end to be done again at once: the same operators on the same addresses,
/// with whatever these then hold.
class Recording {
  public:
    virtual ~Recording() = default;
    virtual void replay() = 0;
};

/// A result on its way to the host.
class Reading {
  public:
    virtual ~Reading() = default;
    /// Waits for it; valid as long as the reading lives. Errors: io for a fault of the machine.
    virtual std::span<const std::byte> wait() = 0;
};

class Ops {
  public:
    virtual ~Ops() = default;

    // --- memory of a step
    // ------------------------------------------------------------------------------------------
    virtual DType activation_dtype() const = 0;
    virtual Tensor make(DType dtype, Shape shape) = 0;
    /// A new step: all earlier results are gone. What is made before the first begin_layer lives for the
    /// whole step.
    virtual void begin_step() = 0;
    /// Results made from here on stay valid until the second call from now.
    virtual void begin_layer(int layer) = 0;
    /// Optional: tells which batch the step's operators will be given, once its sequences are known, so that
    /// a back end can bring them where it needs them; later changes of `batch` are not seen. Needed before
    /// record and replay.
    virtual void stage(const Batch&) {}
    /// Keeps what `body` calls instead of doing it; null where a back end has no such thing (then `body` was
    /// not called). The step must have been done once before with the same shapes: uploads and new memory are
    /// not allowed inside. Tensors that `body` makes have the addresses that every replay uses.
    virtual std::unique_ptr<Recording> record(const std::function<void()>& body);
    /// Reads a result; waits for it.
    virtual void download(const Tensor& source, void* host) = 0;
    /// Reads a result without waiting: what is called later may begin meanwhile, and may use its memory
    /// again.
    virtual std::unique_ptr<Reading> read_later(const Tensor& source);
    virtual Tensor upload(const void* host, DType dtype, Shape shape) = 0;

    // --- primitives
    // ------------------------------------------------------------------------------------------------
    virtual Tensor cast(const Tensor& x, DType dtype) = 0;  // also makes a strided tensor contiguous
    virtual Tensor unary(Unary function, const Tensor& x) = 0;
    /// b has x's shape, or is one row (1, columns), or one column (rows, 1).
    virtual Tensor binary(Binary function, const Tensor& x, const Tensor& b) = 0;
    virtual Tensor scale(const Tensor& x, float factor) = 0;
    /// (m, k) x (k, n); sums in fp32.
    virtual Tensor matmul(const Tensor& a, const Tensor& b) = 0;
    virtual Tensor transpose(const Tensor& x) = 0;
    virtual Tensor sum_columns(const Tensor& x) = 0;           // (rows, 1)
    virtual Tensor rsqrt(const Tensor& x, float epsilon) = 0;  // 1 / sqrt(x + epsilon)
    /// Row-wise; columns from `valid[r]` on (i32 (rows), or undefined: all valid) get probability 0.
    virtual Tensor softmax(const Tensor& x, const Tensor& valid) = 0;
    virtual Routing top_k(const Tensor& probabilities, int64_t k) = 0;           // weights not renormalized
    virtual Tensor gather_rows(const Tensor& table, const Tensor& indices) = 0;  // also the embedding
    virtual void scatter_rows(const Tensor& destination, const Tensor& indices, const Tensor& rows) = 0;
    virtual Tensor concat_columns(std::span<const Tensor> parts) = 0;
    /// x W^T (+ bias), sums in fp32. x (tokens, in) -> (tokens, out).
    virtual Tensor linear(const Tensor& x, const Linear& weight) = 0;
    /// The same with an f32 result: router and output head.
    virtual Tensor linear_f32(const Tensor& x, const Linear& weight) = 0;
    /// One routed expert on all rows: down(silu(gate x) * up x).
    virtual Tensor expert(const Tensor& x, const Experts& experts, int64_t index) = 0;
    /// Angles' cosine and sine: (tokens, frequencies) f32 each. positions: i32 (3, tokens).
    virtual std::pair<Tensor, Tensor> rotary_angles(const Tensor& positions, const Rotary& rotary) = 0;

    // --- operators with a definition
    // -------------------------------------------------------------------------------
    Tensor add(const Tensor& x, const Tensor& y) { return binary(Binary::add, x, y); }
    Tensor multiply(const Tensor& x, const Tensor& y) { return binary(Binary::multiply, x, y); }

    /// linear() of the same x with each weight. Results may be columns of one wider matrix.
    virtual std::vector<Tensor> linears(const Tensor& x, std::span<const Linear> weights);
    virtual Tensor rms_norm(const Tensor& x, const Norm& norm);
    /// sum = x + residual; returns {rms_norm(sum), sum}.
    virtual std::pair<Tensor, Tensor> add_rms_norm(const Tensor& x, const Tensor& residual, const Norm& norm);
    /// Per head of weight.size(0) columns: rms-normalized x * weight (plain, not zero-centred) * silu(gate).
    virtual Tensor gated_rms_norm(const Tensor& x, const Tensor& gate, const Norm& norm);
    /// Rows divided by sqrt(sum of squares + epsilon), per head of `head_dim` columns.
    virtual Tensor l2_norm(const Tensor& x, int64_t head_dim, float epsilon);
    /// silu(gate) * up
    virtual Tensor swiglu(const Tensor& gate, const Tensor& up);
    /// x + y * sigmoid(gate), gate (rows, 1)
    virtual Tensor add_gated(const Tensor& x, const Tensor& y, const Tensor& gate);
    /// x (tokens, heads * head_dim) with every head rotated by its token's position.
    virtual Tensor rotate(const Tensor& x, int64_t head_dim, const Tensor& positions, const Rotary& rotary);
    /// Writes the batch's keys and values into the pages.
    virtual void write_kv(const KvLayer& cache, const Tensor& key, const Tensor& value, const Batch& batch);
    /// Causal attention of the batch's rows over their pages: softmax(q k^T / sqrt(head_dim)) v, grouped
    /// heads.
    virtual Tensor attention(const Tensor& query, const KvLayer& cache, const Batch& batch, int64_t heads);
    /// Norms and rotation of q and k, cache write, attention, output * sigmoid(gate): (tokens, heads *
    /// head_dim).
    virtual Tensor gated_attention(const GatedAttentionInput& input, const Rotary& rotary,
                                   const KvLayer& cache, const Batch& batch);
    /// Depthwise causal convolution over each sequence's rows, then SiLU; weight f32 (channels, kernel), the
    /// last tap multiplies the current row. Reads and replaces the sequences' conv state.
    virtual Tensor causal_conv1d(const Tensor& x, const Tensor& weight, const StateLayer& state,
                                 const Batch& batch);
    /// The gated delta rule, fp32, per value head (reference: model description 2.4): reads and replaces the
    /// state. Result (tokens, value_heads * value_dim).
    virtual Tensor gated_delta_rule(const DeltaRuleInput& input, const StateLayer& state, const Batch& batch);
    /// Convolution, gated delta rule, gated norm: (tokens, value_heads * value_dim).
    virtual Tensor gated_delta_net(const GatedDeltaNetInput& input, const StateLayer& state,
                                   const Batch& batch);
    /// softmax over all experts in fp32, top k, renormalized to sum 1.
    virtual Routing route(const Tensor& x, const Linear& router, int64_t top_k);
    /// Sum over a token's experts of weight * expert(x), in the order of the routing.
    virtual Tensor moe(const Tensor& x, const Routing& routing, const Experts& experts);
    /// route(), and linear(x, shared_gate): (tokens, 1).
    virtual std::pair<Routing, Tensor> route_with_shared(const Tensor& x, const Linear& router,
                                                         const Linear& shared_gate, int64_t top_k);
    /// moe() + sigmoid(gate) * the one expert of `shared` on all rows; gate (tokens, 1), of any float type.
    virtual Tensor moe_with_shared(const Tensor& x, const Routing& routing, const Experts& experts,
                                   const Experts& shared, const Tensor& gate);
    /// Token ids (i32) as they are; of a negative one, -1 - s, entry s of `chosen`, where sample() kept it.
    virtual Tensor known_tokens(const Tensor& token_ids, const Tensor& chosen);
    /// Chooses a token of each row of logits (f32), as ops/sampling.h says.
    virtual Sampled sample(const Tensor& logits, const SamplingBatch& batch);

    // --- collectives
    // -----------------------------------------------------------------------------------------------
    virtual Tensor all_reduce(const Tensor& x) { return x; }
    virtual Tensor all_gather_columns(const Tensor& x) { return x; }
};

}  // namespace sheaf
