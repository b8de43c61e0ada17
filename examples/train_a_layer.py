"""Train the reduction layer without the service: plain PyTorch.

The targets are the hidden states' own coordinates in a plane of four directions that the layer does
not know; it finds them from examples.
"""

from __future__ import annotations

import torch
from torch import nn

from app.layers import QRReduction


def main() -> None:
    """Take 200 steps and print the output shape and the loss before and after."""
    torch.manual_seed(0)
    hidden_states = torch.randn(8, 32, 16)
    targets = hidden_states @ torch.linalg.qr(torch.randn(16, 4)).Q

    layer = QRReduction(n_components=4, input_size=16)
    loss_function = nn.MSELoss()
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.5)

    print(layer)
    print(
        "hidden_states", tuple(hidden_states.shape), "-> reduced", tuple(layer(hidden_states).shape)
    )
    print(f"loss before {loss_function(layer(hidden_states), targets).item():.6f}")
    for _ in range(200):
        optimizer.zero_grad()
        loss = loss_function(layer(hidden_states), targets)
        loss.backward()
        optimizer.step()
    print(f"loss after  {loss_function(layer(hidden_states), targets).item():.6f}")


if __name__ == "__main__":
    main()
