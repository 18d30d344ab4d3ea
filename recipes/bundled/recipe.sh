#!/usr/bin/env bash
# Makes the bundled model from real X-rays: bash recipes/bundled/recipe.sh DATA WORK
# DATA holds nih/ and kermany/ as docs/model-card.md describes them; WORK takes the runs. Every command goes on where it was stopped.
set -euo pipefail
data=$1 work=$2

# Both collections have public pseudonyms for ids. The gate is left out, so that the dataset stays the one that the model's
# figures are of: of NIH it would leave out 4 of 871 images (docs/quality-gate.md names the rules).
synthcxr prepare "$data/nih" --out "$work/nih" --ids keep --skip-checks all \
  --licence 'NIH Clinical Center: free to use and share with credit (Wang et al., CVPR 2017)'
# 74 patients occur as both P…b and P…v; children of one to five years, whose ages the source does not state.
synthcxr prepare "$data/kermany" --out "$work/kermany" --missing-age 1-5 --patient-pattern '^(P\d+)[bv]$' \
  --ids keep --skip-checks all \
  --licence 'CC BY 4.0 (Kermany, Zhang, Goldbaum, Mendeley Data v2)'

synthcxr train "$work/nih" "$work/kermany" --out "$work/autoencoder" --base layout:small --method autoencoder \
  --latents principal --steps 5000 --batch-size 8 --crop-size 128 --learning-rate 1.5e-3 --schedule cosine --warmup-steps 60 \
  --weight-decay 1e-4 --ema-decay 0.995 --ssim-weight 0.2 --checkpoint-every 100 --sample-every 500
synthcxr train "$work/nih" "$work/kermany" --out "$work/encoder" --method encoder \
  --steps 600 --batch-size 32 --learning-rate 2e-3 --schedule cosine --warmup-steps 30 --weight-decay 0.05 --ema-decay 0.99 \
  --checkpoint-every 50 --sample-every 0
# Latents are fixed by the training images, so this run may begin before the decoder is ready. bfloat16 is 1.6 times as fast on
# CPUs with AMX, and right for GPUs; on older CPUs take float32. `--init MODEL` starts from weights that are there already, as the
# ones that ship did (docs/model-card.md); `--base bundled` in the autoencoder's place goes on from those in the package, and
# install.py then wants --goes-on. The first run leaves what was learnt, the second, on a falling rate, polishes it. Without
# --word-weight the text encoder forgets a person's sex (docs/development.md).
synthcxr train "$work/nih" "$work/kermany" --out "$work/denoiser-long" --base "$work/autoencoder" --method full \
  --steps 5000 --batch-size 16 --learning-rate 5e-4 --warmup-steps 100 --ema-decay 0.998 --dtype bfloat16 \
  --time-sampling logit-normal --time-shift 2 --word-weight 0.1 \
  --field-dropout 0.15 --latent-variants 3 --checkpoint-every 100 --sample-every 500 --cache "$work/cache"
synthcxr train "$work/nih" "$work/kermany" --out "$work/denoiser" --base "$work/autoencoder" --init "$work/denoiser-long" --method full \
  --steps 1200 --batch-size 16 --learning-rate 5e-4 --schedule cosine --warmup-steps 30 --ema-decay 0.99 --dtype bfloat16 \
  --time-sampling logit-normal --time-shift 1.5 --word-weight 0.1 \
  --field-dropout 0.15 --latent-variants 3 --checkpoint-every 50 --sample-every 0 --cache "$work/cache"

python "$(dirname "$0")/install.py" "$work" --before "$work/denoiser-long"
# The few-step student (`--preset preview`) learns from what the bundled model, now in its place, draws itself.
synthcxr train "$work/nih" "$work/kermany" --out "$work/student" --base bundled --method lora \
  --student-steps 8 --teacher-steps 32 --teacher-draws 512 --rank 4 \
  --targets to_q --targets to_k --targets to_v --targets to_out.0 --targets conv1 --targets conv2 --targets conv_shortcut \
  --targets proj_in --targets proj_out --targets time_emb_proj --targets conv --targets conv_out \
  --steps 800 --batch-size 16 --learning-rate 1e-3 --schedule cosine --warmup-steps 30 --weight-decay 1e-6 --ema-decay 0.99 \
  --dtype bfloat16 --field-dropout 0.15 --prompt-dropout 0.05 --validate-every 200 --checkpoint-every 50 --sample-every 0 \
  --cache "$work/cache"
python "$(dirname "$0")/install.py" "$work" --stage few-step
# Thresholds of the quality gate and of generate --accept, which belong to the encoder.
python "$(dirname "$0")/calibrate_gate.py" "$work"
python "$(dirname "$0")/calibrate_acceptance.py" "$work"
