"""DP-Adapter: a frozen diffusion model follows the look of one reference and what another shows, each by its scale."""
