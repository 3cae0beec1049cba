import torch
from mmseg.models.backbones.beit import BEiTAttention
from torch import Tensor
from torch.nn import functional

from mmsegmentation.models.fast_linear import linear, use_fast_linear


class BiasedAttention(BEiTAttention):
    """MMSegmentation's attention of BEiT by PyTorch's fused kernel, fast layers around.

    Where the bias has a gradient on a CPU, which no fused kernel there gives it, by the
    four steps that it consists of. Under autocast their results are rounded to its
    precision, the sum of scores and bias too, which MMSegmentation has in float32: half
    the memory, and in bfloat16 at biases of about 2 an error of 0.8 % of the output in
    place of 0.4 % (at 0.5 both 0.3 %).

    The bias by relative position, (heads, N, N), is built by one selection, and kept
    between forward passes in evaluation on a CPU, as long as the table stays the same.

    Args:
        keeps_bias: Keep it; else it is built in each pass, to the same numbers.
        **kwargs: As MMSegmentation's ``BEiTAttention``.
    """

    def __init__(self, keeps_bias: bool = True, **kwargs) -> None:
        super().__init__(**kwargs)
        use_fast_linear(self)
        self.keeps_bias = keeps_bias
        # The table that the bias was built from, and the bias.
        self._kept: tuple[Tensor, Tensor] | None = None

    @classmethod
    def in_place_of(cls, stock: BEiTAttention) -> 'BiasedAttention':
        """Return an attention with the weights of ``stock``.

        It draws no random numbers, so that all later random numbers are the same as in
        MMSegmentation's model.
        """
        with torch.device('meta'):
            attention = cls(
                embed_dims=stock.embed_dims,
                num_heads=stock.num_heads,
                window_size=stock.window_size,
                bias=stock.bias,
                qk_scale=stock.scale,
                attn_drop_rate=stock.attn_drop.p,
                proj_drop_rate=stock.proj_drop.p,
            )
        attention.load_state_dict(stock.state_dict(keep_vars=True), assign=True)
        return attention

    def forward(self, x: Tensor) -> Tensor:
        """Attend.

        Args:
            x: Tokens, (B, N, C).

        Returns:
            (B, N, C).
        """
        n, tokens, channels = x.shape
        qkv = self._project(x).reshape(n, tokens, 3, self.num_heads, -1)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)
        table = self.relative_position_bias_table
        learns = table.requires_grad and torch.is_grad_enabled()
        if learns and table.device.type == 'cpu':
            x = self._attend(query, key, value, self._build(table, table.dtype))
        else:
            x = functional.scaled_dot_product_attention(
                query,
                key,
                value,
                attn_mask=self._bias(query.dtype)[None],
                dropout_p=self.attn_drop.p if self.training else 0.0,
                scale=self.scale,
            )
        x = x.transpose(1, 2).reshape(n, tokens, channels)
        return self.proj_drop(self.proj(x))

    def _attend(
        self, query: Tensor, key: Tensor, value: Tensor, bias: Tensor
    ) -> Tensor:
        """Attend where the bias learns: on a CPU no fused kernel does that.

        PyTorch then takes single steps, and some for rows that are masked throughout.

        Args:
            query, key, value: (B, heads, N, C).
            bias: (heads, N, N).

        Returns:
            (B, heads, N, C).
        """
        scores = (query * self.scale) @ key.transpose(2, 3)
        scores += bias
        return self.attn_drop(scores.softmax(-1)) @ value

    def _project(self, x: Tensor) -> Tensor:
        if self.bias != 'qv_bias':
            return self.qkv(x)
        no_bias = torch.zeros_like(self.v_bias, requires_grad=False)
        bias = torch.cat((self.q_bias, no_bias, self.v_bias))
        return linear(x, self.qkv.weight, bias)

    @property
    def bias_bytes(self) -> int:
        """How much memory the bias takes in float32."""
        return 4 * self.num_heads * self.relative_position_index.numel()

    def _bias(self, dtype: torch.dtype) -> Tensor:
        table = self.relative_position_bias_table
        if self.training or torch.is_grad_enabled() or table.device.type != 'cpu':
            return self._build(table, dtype)
        if not self.keeps_bias:
            return self._build(table, dtype)
        if torch.compiler.is_compiling() or torch.onnx.is_in_onnx_export():
            return self._build(table, dtype)
        kept = self._kept
        # By content: weights also change where no version counter tells, as in EMA.
        if not kept or kept[1].dtype != dtype or not torch.equal(kept[0], table):
            table = table.detach()
            kept = self._kept = table.clone(), self._build(table, dtype)
        return kept[1]

    def _build(self, table: Tensor, dtype: torch.dtype) -> Tensor:
        index = self.relative_position_index
        # Whole rows of positions per head: three times faster than MMSegmentation's
        # gathering of heads per position, forwards and backwards. In the table's own
        # precision, in which its gradient is summed.
        bias = table.T.contiguous().index_select(1, index.flatten())
        return bias.view(self.num_heads, *index.shape).to(dtype)

    def train(self, mode: bool = True) -> 'BiasedAttention':
        """Switch to training, for which the kept bias is given up, or evaluation."""
        if mode:
            self._kept = None
        return super().train(mode)
