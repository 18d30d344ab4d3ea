// Grey images on canvases: zoom, pan, window and level, inversion. All panes share one view.

const START = { window: 256, level: 128, invert: false };
const LARGEST = 32;

export class Viewer {
  // `changed` is called after every change of the view.
  constructor(holder, changed) {
    this.holder = holder;
    this.changed = changed;
    this.panes = [];
    this.pointers = new Map();
    Object.assign(this, START);
    new ResizeObserver(() => this.resize()).observe(holder);
  }

  // Show images (arrays of grey levels, row by row) of one size, with their names for screen readers.
  show(images, width, height, names) {
    this.width = width;
    this.height = height;
    this.panes = images.map((levels, index) => this.pane(levels, names[index]));
    this.holder.replaceChildren(...this.panes.map((pane) => pane.figure));
    Object.assign(this, START);
    this.touched = false;
    this.resize();
  }

  clear() {
    this.panes = [];
    this.holder.replaceChildren();
  }

  pane(levels, name) {
    const figure = document.createElement("figure");
    const canvas = document.createElement("canvas");
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", name);
    figure.append(canvas);
    if (name !== "X-ray") {
      const caption = document.createElement("figcaption");
      caption.textContent = name;
      figure.append(caption);
    }
    const source = document.createElement("canvas");
    source.width = this.width;
    source.height = this.height;
    this.listen(canvas);
    return { figure, canvas, source, levels };
  }

  resize() {
    const ratio = window.devicePixelRatio || 1;
    for (const { canvas } of this.panes) {
      canvas.width = Math.max(1, Math.round(canvas.clientWidth * ratio));
      canvas.height = Math.max(1, Math.round(canvas.clientHeight * ratio));
    }
    if (this.panes.length && !this.touched) this.place(this.fitting());
    else this.draw(true);
  }

  // Screen pixels an image pixel at which the whole image is seen; a whole number of them where it can be.
  fitting() {
    const { canvas } = this.panes[0];
    const scale = Math.min(canvas.width / this.width, canvas.height / this.height);
    return scale >= 1 ? Math.floor(scale) : scale;
  }

  place(scale) {
    this.scale = scale;
    this.x = this.width / 2;
    this.y = this.height / 2;
    this.draw(true);
  }

  fit() {
    this.touched = false;
    if (this.panes.length) this.place(this.fitting());
  }

  trueSize() {
    this.touched = true;
    this.zoom(1 / this.scale);
  }

  reset() {
    Object.assign(this, START);
    this.fit();
  }

  // Multiply the zoom, keeping the image under a point of the canvas (in screen pixels from its middle) where it is.
  zoom(factor, dx = 0, dy = 0) {
    if (!this.panes.length) return;
    const scale = Math.min(LARGEST, Math.max(Math.min(this.fitting(), 1) / 2, this.scale * factor));
    this.x += dx / this.scale - dx / scale;
    this.y += dy / this.scale - dy / scale;
    this.scale = scale;
    this.touched = true;
    this.draw();
  }

  // Move the image by screen pixels.
  pan(dx, dy) {
    this.x = Math.min(this.width, Math.max(0, this.x - dx / this.scale));
    this.y = Math.min(this.height, Math.max(0, this.y - dy / this.scale));
    this.touched = true;
    this.draw();
  }

  set(values) {
    Object.assign(this, values);
    this.window = Math.min(512, Math.max(8, this.window));
    this.level = Math.min(255, Math.max(0, this.level));
    this.draw(true);
  }

  shades() {
    const table = new Uint32Array(256);
    for (let grey = 0; grey < 256; grey++) {
      // The full window leaves every grey level as it is.
      const share = (grey - (this.level - this.window / 2)) / (this.window === 256 && this.level === 128 ? 255 : this.window);
      const shade = Math.round(255 * Math.min(1, Math.max(0, this.invert ? 1 - share : share)));
      table[grey] = (255 << 24) | (shade << 16) | (shade << 8) | shade;
    }
    return table;
  }

  draw(recolour = false) {
    for (const { canvas, source, levels } of this.panes) {
      if (recolour) {
        const table = this.shades();
        const pixels = new ImageData(this.width, this.height);
        const words = new Uint32Array(pixels.data.buffer);
        for (let index = 0; index < levels.length; index++) words[index] = table[levels[index]];
        source.getContext("2d").putImageData(pixels, 0, 0);
      }
      const context = canvas.getContext("2d");
      context.setTransform(1, 0, 0, 1, 0, 0);
      context.clearRect(0, 0, canvas.width, canvas.height);
      context.imageSmoothingEnabled = this.scale < 1; // enlarged pixels are shown as they are
      context.imageSmoothingQuality = "high";
      const left = Math.round(canvas.width / 2 - this.x * this.scale);
      const top = Math.round(canvas.height / 2 - this.y * this.scale);
      context.drawImage(source, left, top, Math.round(this.width * this.scale), Math.round(this.height * this.scale));
    }
    this.changed(this);
  }

  listen(canvas) {
    const ratio = () => window.devicePixelRatio || 1;
    const fromMiddle = (x, y) => {
      const box = canvas.getBoundingClientRect();
      return [(x - box.left - box.width / 2) * ratio(), (y - box.top - box.height / 2) * ratio()];
    };
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.zoom(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0015)), ...fromMiddle(event.clientX, event.clientY));
    }, { passive: false });
    canvas.addEventListener("contextmenu", (event) => event.preventDefault());
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      this.pointers.set(event.pointerId, event);
    });
    for (const end of ["pointerup", "pointercancel"]) {
      canvas.addEventListener(end, (event) => this.pointers.delete(event.pointerId));
    }
    canvas.addEventListener("pointermove", (event) => {
      const before = this.pointers.get(event.pointerId);
      if (!before) return;
      const dx = event.clientX - before.clientX;
      const dy = event.clientY - before.clientY;
      if (this.pointers.size === 2) {
        const other = [...this.pointers].find(([id]) => id !== event.pointerId)[1];
        const distance = (one) => Math.hypot(one.clientX - other.clientX, one.clientY - other.clientY);
        const middle = fromMiddle((event.clientX + other.clientX) / 2, (event.clientY + other.clientY) / 2);
        this.zoom(distance(event) / Math.max(1, distance(before)), ...middle);
        this.pan((dx / 2) * ratio(), (dy / 2) * ratio());
      } else if (before.buttons & 2) {
        this.set({ window: this.window + dx, level: this.level - dy });
      } else {
        this.pan(dx * ratio(), dy * ratio());
      }
      this.pointers.set(event.pointerId, event);
    });
  }
}
