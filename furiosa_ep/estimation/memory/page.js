"use strict";
(() => {
  const plots = JSON.parse(document.getElementById("data").textContent);
  const tip = document.getElementById("tip");
  const LANE = 18, GAP = 4, LEFT = 58, RIGHT = 8, TOP = 8, AXIS = 26;
  const MIB = 1 << 20, TWO_DIGITS = { minimumFractionDigits: 2, maximumFractionDigits: 2 };
  const names = { 0: "compute", 1: "dma", 2: "io", 3: "host" };
  const said = { 0: "compute", 1: "DMA", 2: "I/O", 3: "host" };

  const number = (value) => Math.round(value).toLocaleString("en-US");
  const hex = (value) => "0x" + value.toString(16).toUpperCase();
  const steps = (span, most) => {
    const rough = span / most, power = 10 ** Math.floor(Math.log10(rough));
    return power * [1, 2, 5, 10].find((one) => one * power >= rough);
  };

  class Plot {
    constructor(canvas, data) {
      Object.assign(this, { canvas, data, pointers: new Map(), hovered: null });
      const ends = [...data.events.map((e) => e[3]), ...data.allocations.map((a) => a[5])];
      this.end = Math.max(1, ...ends);
      const tops = data.allocations.map((a) => a[2] + a[3]);
      this.top = Math.max(data.sram, ...tops);
      const used = 2 ** Math.ceil(Math.log2(Math.max(4096, ...tops)));
      this.used = Math.min(used, this.top); // where what is used is little, it is seen nevertheless
      this.order = [...data.events, ...data.allocations].sort((a, b) => this.time(a)[0] - this.time(b)[0]);
      this.lanes = new Map(data.engines.map(([engine], index) => [engine, index]));
      this.reset();
      canvas.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
      canvas.addEventListener("pointerdown", (event) => this.press(event));
      canvas.addEventListener("pointermove", (event) => this.move(event));
      for (const end of ["pointerup", "pointercancel"])
        canvas.addEventListener(end, (event) => this.release(event));
      canvas.addEventListener("pointerleave", () => this.hover(null));
      canvas.addEventListener("dblclick", () => this.reset());
      canvas.addEventListener("keydown", (event) => this.key(event));
      for (const button of canvas.closest("section").querySelectorAll("button"))
        button.addEventListener("click", () =>
          Number(button.dataset.zoom) ? this.zoom(Number(button.dataset.zoom), 0.5)
            : this.reset(button.dataset.zoom));
      new ResizeObserver(() => this.draw()).observe(canvas);
    }

    reset(what) {
      const npu = what === "all" ? [] : this.data.events.filter((e) => e[1] < 2);
      const start = npu.length ? Math.min(...npu.map((e) => e[2])) : 0;
      const end = npu.length ? Math.max(...npu.map((e) => e[3])) : this.end;
      this.view = { start, end, low: 0, high: what === "all" ? this.top : this.used };
      this.keep();
    }

    time(item) {
      return item.length === 6 ? [item[4], item[5]] : [item[2], item[3]];
    }

    get box() {
      const { clientWidth: width, clientHeight: height } = this.canvas;
      const lanes = this.lanes.size * (LANE + GAP);
      return { left: LEFT, right: width - RIGHT, top: TOP, bottom: height - lanes - AXIS, width, height };
    }

    x(cycle) {
      const { left, right } = this.box, { start, end } = this.view;
      return left + ((cycle - start) / (end - start)) * (right - left);
    }

    y(address) {
      const { top, bottom } = this.box, { low, high } = this.view;
      return bottom - ((address - low) / (high - low)) * (bottom - top);
    }

    laneTop(engine) {
      return this.box.bottom + AXIS + this.lanes.get(engine) * (LANE + GAP);
    }

    keep() {
      const fit = (from, to, most, least) => {
        const span = Math.min(Math.max(this.view[to] - this.view[from], least), most);
        const at = Math.min(Math.max(this.view[from], 0), most - span);
        this.view[from] = at;
        this.view[to] = at + span;
      };
      fit("start", "end", this.end, Math.min(this.end, 100));
      fit("low", "high", this.top, Math.min(this.top, 4096));
      this.draw();
    }

    zoom(factor, at, vertical = false) {
      const [from, to] = vertical ? ["low", "high"] : ["start", "end"];
      const span = this.view[to] - this.view[from], fixed = this.view[from] + at * span;
      this.view[from] = fixed - at * span * factor;
      this.view[to] = fixed + (1 - at) * span * factor;
      this.keep();
    }

    pan(dx, dy) {
      const { left, right, top, bottom } = this.box, view = this.view;
      const cycles = (dx / (right - left)) * (view.end - view.start);
      const addresses = (dy / (bottom - top)) * (view.high - view.low);
      view.start -= cycles;
      view.end -= cycles;
      view.low += addresses;
      view.high += addresses;
      this.keep();
    }

    wheel(event) {
      const { left, right, top, bottom } = this.box;
      const delta = event.deltaY || event.deltaX; // Shift turns the wheel sideways
      const factor = Math.exp(Math.max(-1, Math.min(1, delta / 400))), before = this.canvas.dataset.view;
      if (event.shiftKey) this.zoom(factor, (bottom - event.offsetY) / (bottom - top), true);
      else this.zoom(factor, (event.offsetX - left) / (right - left));
      if (factor < 1 || this.canvas.dataset.view !== before) event.preventDefault(); // else the page scrolls
      this.hover(event);
    }

    press(event) {
      this.canvas.setPointerCapture?.(event.pointerId);
      this.pointers.set(event.pointerId, event);
      this.canvas.classList.add("moving");
      this.hover(event);
    }

    move(event) {
      const before = this.pointers.get(event.pointerId);
      if (!before) return this.hover(event);
      const others = [...this.pointers.values()].filter((one) => one.pointerId !== event.pointerId);
      this.pointers.set(event.pointerId, event);
      if (others.length) {
        const [other] = others, { left, right } = this.box;
        const gap = (one) => Math.max(20, Math.abs(one.offsetX - other.offsetX));
        const middle = (event.offsetX + other.offsetX) / 2;
        this.zoom(gap(before) / gap(event), (middle - left) / (right - left));
      } else {
        this.pan(event.offsetX - before.offsetX, event.offsetY - before.offsetY);
      }
      this.hover(null);
    }

    release(event) {
      this.pointers.delete(event.pointerId);
      if (!this.pointers.size) this.canvas.classList.remove("moving");
    }

    key(event) {
      const { left, right, top, bottom } = this.box;
      const across = (right - left) / 8, up = (bottom - top) / 8;
      const acts = {
        "+": () => this.zoom(0.5, 0.5), "=": () => this.zoom(0.5, 0.5), "-": () => this.zoom(2, 0.5),
        "0": () => this.reset(), a: () => this.reset("all"),
        n: () => this.step(1), p: () => this.step(-1),
        PageUp: () => this.zoom(0.5, 0.5, true), PageDown: () => this.zoom(2, 0.5, true),
        ArrowLeft: () => this.pan(across, 0), ArrowRight: () => this.pan(-across, 0),
        ArrowUp: () => this.pan(0, up), ArrowDown: () => this.pan(0, -up),
      };
      const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
      if (!acts[key] || event.ctrlKey || event.metaKey || event.altKey) return; // those are the browser's
      event.preventDefault();
      if (key !== "n" && key !== "p") this.show(null);
      acts[key]();
    }

    step(by) {
      const known = this.order.indexOf(this.hovered), last = this.order.length - 1;
      const at = known < 0 ? this.order.findIndex((one) => this.time(one)[1] > this.view.start) : known + by;
      const item = this.order[Math.min(Math.max(at, 0), last)];
      if (!item) return;
      const [from, to] = this.time(item), { start, end } = this.view;
      if (to <= start || from >= end) this.view = { ...this.view, start: from, end: from + end - start };
      this.keep();
      const bounds = this.canvas.getBoundingClientRect(), { left, right, top, bottom } = this.box;
      const clamp = (value, least, most) => Math.min(Math.max(value, least), most);
      const x = (clamp(this.x(from), left, right) + clamp(this.x(to), left, right)) / 2;
      const y = item.length === 6 ? clamp(this.y(item[2] + item[3] / 2), top, bottom)
        : this.laneTop(item[1]) + LANE / 2;
      this.show(item, bounds.left + x, bounds.top + y);
    }

    found(px, py) {
      const { left, right, top, bottom } = this.box, { start, end, low, high } = this.view;
      if (px < left || px > right) return null;
      const cycle = start + ((px - left) / (right - left)) * (end - start);
      const pixel = (end - start) / (right - left);
      if (py <= bottom && py >= top) {
        const address = low + ((bottom - py) / (bottom - top)) * (high - low);
        const row = (high - low) / (bottom - top);
        return this.nearest(this.data.allocations, (a) =>
          a[4] - pixel <= cycle && cycle < a[5] + pixel && a[2] - row <= address && address < a[2] + a[3] + row);
      }
      for (const engine of this.lanes.keys()) {
        const lane = this.laneTop(engine);
        if (py < lane || py >= lane + LANE) continue;
        return this.nearest(this.data.events, (e) =>
          e[1] === engine && e[2] - pixel <= cycle && cycle < e[3] + pixel);
      }
      return null;
    }

    nearest(items, hit) {
      return items.findLast(hit) ?? null;
    }

    hover(event) {
      if (event) this.show(this.found(event.offsetX, event.offsetY), event.clientX, event.clientY);
      else this.show(null);
    }

    show(item, pointX, pointY) {
      if (item !== this.hovered) {
        this.hovered = item;
        this.draw();
      }
      tip.hidden = !item;
      if (!item) return;
      tip.replaceChildren(...this.text(item));
      const { width, height } = tip.getBoundingClientRect();
      const x = pointX + 16 + width > innerWidth ? pointX - width - 16 : pointX + 16;
      const y = Math.min(pointY + 16, innerHeight - height - 8);
      tip.style.left = `${Math.max(8, x)}px`;
      tip.style.top = `${Math.max(8, y)}px`;
    }

    text(item) {
      const title = document.createElement("b");
      title.textContent = this.data.names[item[0]];
      const us = (cycles) => ((cycles / this.data.clock) * 1e6).toLocaleString("en-US", TWO_DIGITS);
      const span = (start, end) =>
        `cycles [${number(start)}, ${number(end)}), ${us(end - start)} µs\n`;
      const lines = item.length === 6
        ? `${this.data.uses[item[1]]}\n${span(item[4], item[5])}` +
          `addresses [${hex(item[2])}, ${hex(item[2] + item[3])}), ${number(item[3])} bytes`
        : `${said[item[1]]}\n${span(item[2], item[3])}` + (item[4] ? `${number(item[4])} bytes` : "");
      return [title, lines.trim()];
    }

    draw() {
      const { canvas, view, box } = this, scale = devicePixelRatio || 1;
      if (!box.width) return;
      canvas.width = box.width * scale;
      canvas.height = box.height * scale;
      canvas.dataset.view = [view.start, view.end, view.low, view.high].map(Math.round).join(" ");
      const context = canvas.getContext("2d"), style = getComputedStyle(canvas);
      const color = (name) => style.getPropertyValue(`--${name}`).trim();
      context.scale(scale, scale);
      context.font = "11px system-ui, sans-serif";
      this.axes(context, color);
      this.items(context, color);
    }

    axes(context, color) {
      const { left, right, top, bottom } = this.box, { start, end, low, high } = this.view;
      context.lineWidth = 1;
      context.textBaseline = "middle";
      const line = (x0, y0, x1, y1) => {
        context.beginPath();
        context.moveTo(x0, y0);
        context.lineTo(x1, y1);
        context.stroke();
      };
      context.strokeStyle = color("line");
      context.fillStyle = color("soft");
      context.textAlign = "right";
      const rise = 2 ** Math.ceil(Math.log2((high - low) / 8));
      for (let at = Math.ceil(low / rise) * rise; at <= high; at += rise) {
        line(left, this.y(at), right, this.y(at));
        const label = rise >= MIB / 4 ? `${+(at / MIB).toFixed(2)} MiB` : `${+(at / 1024).toFixed(2)} KiB`;
        context.fillText(label, left - 6, this.y(at));
      }
      const run = steps(end - start, Math.max(2, (right - left) / 110));
      context.textAlign = "center";
      for (let at = Math.ceil(start / run) * run; at <= end; at += run) {
        line(this.x(at), top, this.x(at), bottom + 4);
        const half = context.measureText(number(at)).width / 2;
        context.fillText(number(at), Math.min(Math.max(this.x(at), left + half), right - half), bottom + 13);
      }
      context.textAlign = "right";
      context.fillText("cycles", left - 6, bottom + 13);
      for (const [engine, name] of this.data.engines)
        context.fillText(name, left - 6, this.laneTop(engine) + LANE / 2);
      context.strokeStyle = color("soft");
      line(left, bottom, right, bottom);
      line(left, top, left, bottom);
    }

    items(context, color) {
      const { left, right, top, bottom, height } = this.box;
      const { start, end, low, high } = this.view;
      const clip = (y0, y1, act) => {
        context.save();
        context.beginPath();
        context.rect(left, y0, right - left, y1 - y0);
        context.clip();
        act();
        context.restore();
      };
      const card = color("card"), ink = color("ink"), dark = color("label");
      const lanes = Object.fromEntries(Object.entries(names).map(([engine, name]) => [engine, color(name)]));
      context.textAlign = "left";
      const block = (item, fill, x0, y0, x1, y1) => {
        const width = Math.max(x1 - x0, 1), tall = Math.max(y1 - y0, 1);
        context.globalAlpha = item === this.hovered ? 1 : 0.8;
        context.fillStyle = fill;
        context.fillRect(x0, y0, width, tall);
        context.globalAlpha = 1;
        if (width > 3 && tall > 3) {
          context.strokeStyle = item === this.hovered ? ink : card;
          context.strokeRect(x0 + 0.5, y0 + 0.5, width - 1, tall - 1);
        }
        if (width > 70 && tall > 14) this.label(context, item, x0, y0, width, tall, dark);
      };
      clip(top, bottom, () => {
        const fills = this.data.uses.map(color);
        for (const item of this.data.allocations) {
          const [, use, address, size, from, to] = item;
          if (to < start || from > end || address + size < low || address > high) continue;
          block(item, fills[use], this.x(from), this.y(address + size), this.x(to), this.y(address));
        }
      });
      clip(bottom, height, () => {
        for (const item of this.data.events) {
          const [, engine, from, to] = item;
          if (to < start || from > end) continue;
          const lane = this.laneTop(engine);
          block(item, lanes[engine], this.x(from), lane, this.x(to), lane + LANE);
        }
      });
    }

    label(context, item, x0, y0, width, tall, color) {
      const from = Math.max(x0, this.box.left);
      const room = Math.min(x0 + width, this.box.right) - from - 8;
      if (room < 60) return;
      context.save();
      context.beginPath();
      context.rect(from, y0, room + 4, tall);
      context.clip();
      context.fillStyle = color;
      context.fillText(this.data.names[item[0]], from + 4, y0 + tall / 2);
      context.restore();
    }
  }

  const drawn = [...document.querySelectorAll("canvas.plot")].map(
    (canvas) => new Plot(canvas, plots[Number(canvas.dataset.plot)]));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () =>
    drawn.forEach((plot) => plot.draw()));
  document.documentElement.classList.add("js");
})();
