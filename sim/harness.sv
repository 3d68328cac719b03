// Clock, reset and byte transport of a whole accelerator, so that Python is called once an exchange.
//
// Python writes the file request.bin, sets the inputs below and toggles `go`. The harness sends
// `request_bytes` bytes of that file, writes every byte that comes back to reply.bin, counts whole
// replies (sync, status, 2 bytes of length with the low one first, payload, 4 bytes of CRC) and
// toggles `done` after `replies` of them. `outcome` says how it went.

module harness;
  localparam bit [7:0] Sync = 8'hA5;

  typedef enum logic [2:0] {
    OK = 0,
    TIMEOUT = 1,      // `limit` cycles passed
    NO_SYNC = 2,      // a reply does not start with the sync byte
    UNSTABLE = 3,     // valid fell or the payload changed before a transfer
    RESET = 4,        // the reset at `reset_after` cut the exchange short
    STRAY = 5,        // a byte came after the last reply, or while nothing was asked
    NO_FILE = 6
  } outcome_t;

  bit        go;
  bit [1:0]  regime;  // bit 0: source stalls, bit 1: sink
  bit [31:0] seed;
  bit [31:0] request_bytes;
  bit [31:0] replies;
  bit [31:0] limit;
  bit [31:0] reset_after;  // 0: never
  bit [31:0] linger;  // cycles that must stay silent at the end

  bit        done;
  bit [2:0]  outcome;
  bit [31:0] cycles;  // from the start to the last byte received
  bit [31:0] sent;
  bit [31:0] received;
  bit [31:0] complete;  // whole replies

  bit clk;
  always #5 clk = ~clk;

  logic [7:0] i_payload, o_payload;
  logic i_valid, i_ready, o_valid, o_ready;
  bit [2:0] resetting = 4;
  wire rst = resetting != 0;

  accelerator dut (
      .clk(clk),
      .rst(rst),
      .i__payload(i_payload),
      .i__valid(i_valid),
      .i__ready(i_ready),
      .o__payload(o_payload),
      .o__valid(o_valid),
      .o__ready(o_ready)
  );

  // Both stall in 3 of 8 cycles, from different bits of one shift register with maximal period.
  bit [31:0] lfsr;
  wire source_stall = regime[0] && lfsr[2:0] < 3;
  wire sink_stall = regime[1] && lfsr[18:16] < 3;

  typedef enum logic [2:0] {HEAD, STATUS, LOW, HIGH, BODY} place_t;
  place_t place;
  bit [16:0] body;
  bit running, went, waiting;
  bit [7:0] held;
  bit [31:0] elapsed, silent;
  int request_file, reply_file;

  function automatic void finish(input outcome_t how);
    outcome <= how;
    done <= ~done;
    running <= 0;
    i_valid <= 0;
    o_ready <= 0;
    waiting <= 0;
    $fclose(request_file);
    $fclose(reply_file);
    if (how != OK) resetting <= 4;
  endfunction

  always_ff @(posedge clk) begin
    lfsr <= {1'b0, lfsr[31:1]} ^ (lfsr[0] ? 32'hA3000000 : 32'h0);
    if (rst) resetting <= resetting - 1;
    if (!running) begin
      if (go != went && !rst) begin
        went <= go;
        running <= 1;
        lfsr <= seed | 1;
        place <= HEAD;
        {sent, received, complete, elapsed, cycles, silent} <= 0;
        request_file = $fopen("request.bin", "rb");
        reply_file = $fopen("reply.bin", "wb");
        if (request_file == 0 || reply_file == 0) finish(NO_FILE);
        else if (o_valid) finish(STRAY);
      end
    end else begin
      elapsed <= elapsed + 1;
      if (!i_valid || i_ready) begin
        i_valid <= 0;
        if (sent != request_bytes && !source_stall) begin
          i_payload <= 8'($fgetc(request_file));
          i_valid <= 1;
          sent <= sent + 1;
        end
      end

      o_ready <= !sink_stall;
      waiting <= o_valid && !o_ready;
      held <= o_payload;
      if (waiting && (!o_valid || o_payload != held)) finish(UNSTABLE);
      else if (o_valid && o_ready) begin
        $fwrite(reply_file, "%c", o_payload);
        received <= received + 1;
        cycles <= elapsed + 1;
        case (place)
          HEAD: place <= STATUS;
          STATUS: place <= LOW;
          LOW: begin
            body[7:0] <= o_payload;
            place <= HIGH;
          end
          HIGH: begin
            body <= {1'b0, o_payload, body[7:0]} + 4;
            place <= BODY;
          end
          default: begin
            body <= body - 1;
            if (body == 1) begin
              place <= HEAD;
              complete <= complete + 1;
            end
          end
        endcase
        if (complete == replies) finish(STRAY);
        else if (place == HEAD && o_payload != Sync) finish(NO_SYNC);
      end else if (complete == replies && sent == request_bytes && !i_valid) begin
        silent <= silent + 1;
        if (silent >= linger) finish(OK);
      end
      if (elapsed >= limit) finish(TIMEOUT);
      if (reset_after != 0 && elapsed >= reset_after) finish(RESET);
    end
  end
endmodule
