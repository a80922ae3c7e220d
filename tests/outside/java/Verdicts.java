import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.regex.Pattern;

/** Cases on standard input, one a line, fields apart by tabs; a verdict on standard output for each. */
final class Verdicts {
    private static final Pattern LINE_BREAKS = Pattern.compile("\\R");

    private Verdicts() {
    }

    /** What is checked of a case: returns where nothing is objected to, and else throws. */
    interface Check {
        void of(String[] fields) throws Exception;
    }

    /** Answers every case: "accepted", or "refused: " and why. */
    static void answer(Check check) throws IOException {
        BufferedReader cases =
            new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        PrintStream verdicts = new PrintStream(System.out, true, StandardCharsets.UTF_8);
        for (String line = cases.readLine(); line != null; line = cases.readLine()) {
            verdicts.println(verdict(check, line.split("\t", -1)));
        }
    }

    private static String verdict(Check check, String[] fields) {
        try {
            check.of(fields);
            return "accepted";
        } catch (Exception refusal) {
            String why = refusal.getClass().getSimpleName() + ": " + refusal.getMessage();
            return "refused: " + LINE_BREAKS.matcher(why).replaceAll(" ");
        }
    }
}
