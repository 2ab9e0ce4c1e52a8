"""The peer of `benchmark.py`, a checkout of the PyTorch implementation."""

import sys


def runs(
    checkout,
    images,
    labels,
    batch,
    patch_size,
    scales,
    num_glimpses,
    embedding,
    width,
):
    """Training and inference of the PyTorch implementation, from memory.

    Returns:
        Two functions. Each goes through the images once.
    """
    sys.path.insert(0, checkout)
    import torch
    from model import RecurrentAttention

    device = "cuda" if torch.cuda.is_available() else "cpu"
    factor = scales[1] // scales[0] if len(scales) > 1 else 1
    model = RecurrentAttention(
        patch_size, len(scales), factor, 1, embedding, embedding, 0.15, width, 10
    ).to(device)
    optimizer = torch.optim.Adam(model.parameters())
    images = torch.tensor(images, device=device).permute(0, 3, 1, 2).contiguous() / 255
    labels = torch.tensor(labels, device=device)

    def rollout(x):
        hidden = torch.zeros(len(x), width, device=device)
        location = torch.rand(len(x), 2, device=device) * 2 - 1
        baselines, log_probs = [], []
        for step in range(num_glimpses):
            last = step == num_glimpses - 1
            hidden, location, baseline, *guess, log_prob = model(
                x, location, hidden, last
            )
            baselines.append(baseline)
            log_probs.append(log_prob)
        return guess[0], torch.stack(baselines, 1), torch.stack(log_probs, 1)

    def fit():
        for start in range(0, len(images), batch):
            x, y = images[start : start + batch], labels[start : start + batch]
            guess, baselines, log_probs = rollout(x)
            reward = (guess.argmax(1) == y).float()[:, None].expand_as(baselines)
            loss = torch.nn.functional.nll_loss(guess, y)
            loss = loss + torch.nn.functional.mse_loss(baselines, reward)
            loss = loss - (log_probs * (reward - baselines.detach())).sum(1).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        loss.item()  # waits for the device

    def predict():
        with torch.no_grad():
            for start in range(0, len(images), batch):
                guess, *_ = rollout(images[start : start + batch])
        guess.cpu()

    return fit, predict
