// Paints the mask of a step over the picture that comes in: by mouse, finger, pen or keys. What is painted is sent
// like a chosen file, a moment after the last stroke, and with the form if that comes sooner.
(() => {
  const MOST = 1024;
  const PAINT = "rgb(208 52 128)";
  const set = (canvas, width, height) => Object.assign(canvas, { width, height }).getContext("2d", { willReadFrequently: true });

  const start = (painter) => {
    const key = painter.dataset.mask;
    const field = () => document.getElementById(`${key}-field`);
    const size = document.getElementById(`${key}-size`);
    const canvas = painter.querySelector("canvas");
    const board = canvas.parentElement;
    const tip = board.querySelector(".tip");
    const button = (name) => painter.querySelector(`[data-do=${name}]`);
    const before = [];
    let pen = set(canvas, 512, 512);
    let at = { x: 256, y: 256 };
    let erasing = false;
    let stroke = false;
    let unsent = false; // painted since the last upload began
    let sending = false;
    let ours = false; // the upload is what was painted, not a file that was chosen
    let timer = 0;

    // what is painted, at the size of this picture
    const fit = (image) => {
      const scale = Math.min(1, MOST / Math.max(image.naturalWidth, image.naturalHeight));
      const old = document.createElement("canvas");
      set(old, canvas.width, canvas.height).drawImage(canvas, 0, 0);
      pen = set(canvas, Math.round(image.naturalWidth * scale), Math.round(image.naturalHeight * scale));
      pen.drawImage(old, 0, 0, canvas.width, canvas.height);
      at = { x: canvas.width / 2, y: canvas.height / 2 };
      before.length = 0;
    };
    const behind = () => {
      const chosen = document.querySelector(`#${key.replace("mask", "upload")}-field img`)?.src ?? painter.dataset.behind;
      if (!chosen) return;
      board.style.backgroundImage = `url("${chosen}")`;
      const image = new Image();
      image.onload = () => fit(image);
      image.src = chosen;
    };
    // the mask that the step has; where it cannot be read it must not be painted over, and the painter stays away
    const show = () => {
      painter.hidden = false;
      behind();
    };
    const keep = () => {
      const kept = field()?.querySelector("img");
      if (!kept) return show();
      const image = new Image();
      image.crossOrigin = "anonymous";
      image.onload = () => {
        pen.clearRect(0, 0, canvas.width, canvas.height);
        fit(image);
        pen.drawImage(image, 0, 0, canvas.width, canvas.height);
        const all = pen.getImageData(0, 0, canvas.width, canvas.height);
        for (let i = 0; i < all.data.length; i += 4) {
          all.data[i + 3] = (all.data[i] * all.data[i + 3]) / 255;
          [all.data[i], all.data[i + 1], all.data[i + 2]] = [208, 52, 128];
        }
        pen.putImageData(all, 0, 0);
        show();
      };
      image.src = kept.src;
    };

    // what the server takes: white on black
    const file = () => {
      const mask = document.createElement("canvas");
      const plain = set(mask, canvas.width, canvas.height);
      plain.drawImage(canvas, 0, 0);
      plain.globalCompositeOperation = "source-in";
      plain.fillStyle = "white";
      plain.fillRect(0, 0, mask.width, mask.height);
      plain.globalCompositeOperation = "destination-over";
      plain.fillStyle = "black";
      plain.fillRect(0, 0, mask.width, mask.height);
      const bytes = atob(mask.toDataURL("image/png").split(",")[1]);
      return new File([Uint8Array.from(bytes, (char) => char.charCodeAt(0))], "mask.png", { type: "image/png" });
    };
    const put = () => {
      const input = field()?.querySelector("input[type=file]");
      if (!input) return;
      const files = new DataTransfer();
      files.items.add(file());
      input.files = files.files;
      clearTimeout(timer);
      timer = setTimeout(() => {
        if (sending) return; // its answer brings another field, and this is sent then
        [sending, ours, unsent] = [true, true, false];
        input.dispatchEvent(new Event("change", { bubbles: true }));
      }, 1000);
    };
    const changed = () => {
      unsent = true;
      put();
    };
    document.addEventListener("htmx:after:swap", (event) => {
      const id = event.detail?.ctx?.target?.id;
      if (!painter.isConnected) return;
      if (id === `${key.replace("mask", "upload")}-field`) behind();
      if (id !== `${key}-field`) return;
      sending = false;
      if (unsent) put();
      else if (!ours) keep();
      ours = false;
      field().dispatchEvent(new Event("input", { bubbles: true })); // the draft has it too
    });
    document.addEventListener("htmx:finally:request", (event) => {
      if (event.detail?.ctx?.sourceElement?.name === `${key}-file`) sending = false;
    });

    const remember = () => {
      before.push(pen.getImageData(0, 0, canvas.width, canvas.height));
      if (before.length > 20) before.shift();
    };
    const width = () => (canvas.width * size.value) / 100;
    const line = (from, to) => {
      pen.globalCompositeOperation = erasing ? "destination-out" : "source-over";
      pen.strokeStyle = PAINT;
      pen.lineCap = "round";
      pen.lineWidth = width();
      pen.beginPath();
      pen.moveTo(from.x, from.y);
      pen.lineTo(to.x, to.y + 0.01);
      pen.stroke();
      pen.globalCompositeOperation = "source-over";
    };
    const showTip = () => {
      const scale = canvas.clientWidth / canvas.width;
      tip.hidden = false;
      tip.style.inlineSize = tip.style.blockSize = `${width() * scale}px`;
      tip.style.translate = `${(at.x - width() / 2) * scale}px ${(at.y - width() / 2) * scale}px`;
    };
    const point = (event) => {
      const box = canvas.getBoundingClientRect();
      return { x: ((event.clientX - box.x) * canvas.width) / box.width, y: ((event.clientY - box.y) * canvas.height) / box.height };
    };

    canvas.addEventListener("pointerdown", (event) => {
      if (event.button || !event.isPrimary) return;
      canvas.setPointerCapture(event.pointerId);
      remember();
      stroke = true;
      at = point(event);
      line(at, at);
    });
    canvas.addEventListener("pointermove", (event) => {
      if (!event.isPrimary) return;
      const to = point(event);
      if (stroke) line(at, to);
      at = to;
      showTip();
    });
    for (const end of ["pointerup", "pointercancel"]) {
      canvas.addEventListener(end, () => {
        if (stroke) changed();
        stroke = false;
      });
    }
    for (const away of ["pointerleave", "blur"]) canvas.addEventListener(away, () => (tip.hidden = true));
    canvas.addEventListener("focus", showTip);

    const acts = {
      brush: () => press(false),
      eraser: () => press(true),
      undo: () => {
        if (!before.length) return;
        pen.putImageData(before.pop(), 0, 0);
        changed();
      },
      invert: () => {
        remember();
        pen.globalCompositeOperation = "xor";
        pen.fillStyle = PAINT;
        pen.fillRect(0, 0, canvas.width, canvas.height);
        pen.globalCompositeOperation = "source-over";
        changed();
      },
      clear: () => {
        remember();
        pen.clearRect(0, 0, canvas.width, canvas.height);
        changed();
      },
    };
    const press = (erase) => {
      erasing = erase;
      button("brush").setAttribute("aria-pressed", !erase);
      button("eraser").setAttribute("aria-pressed", erase);
      painter.querySelector("output").textContent = erase ? "Eraser" : "Brush";
    };
    painter.addEventListener("click", ({ target }) => acts[target.closest("[data-do]")?.dataset.do]?.());
    const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    const keys = {
      " ": () => {
        remember();
        line(at, at);
        changed();
      },
      e: () => press(!erasing),
      "[": () => size.stepDown(2),
      "]": () => size.stepUp(2),
      z: acts.undo,
    };
    canvas.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      const way = step[event.key];
      const act = keys[event.key.toLowerCase()];
      if (way) {
        const far = Math.max(width() / 2, 2);
        at = { x: Math.min(Math.max(at.x + way[0] * far, 0), canvas.width), y: Math.min(Math.max(at.y + way[1] * far, 0), canvas.height) };
      } else if (act) act();
      else return;
      event.preventDefault();
      showTip();
    });
    // neither the size nor anything else here is a field of the form
    painter.addEventListener("input", (event) => event.stopPropagation());
    keep();
  };

  const all = () =>
    document.querySelectorAll(".painter:not([data-begun])").forEach((painter) => {
      painter.dataset.begun = "";
      start(painter);
    });
  document.addEventListener("htmx:after:swap", all);
  all();
})();
