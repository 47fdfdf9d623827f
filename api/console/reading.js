/** Read one at a time, so that no answer overtakes a newer one. */

/** Runs `read`; whoever asks while it runs has it run once more. */
export class Reading {
  constructor(read) {
    Object.assign(this, { read, underWay: false, asked: false, stopped: false });
  }

  async ask() {
    this.asked = true;
    if (this.underWay) return;
    this.underWay = true;
    while (this.asked && !this.stopped) {
      this.asked = false;
      await this.read();
    }
    this.underWay = false;
  }

  stop() {
    this.stopped = true;
  }
}
